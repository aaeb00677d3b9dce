"""Filter, rarefy and truncate samples, block by block."""
