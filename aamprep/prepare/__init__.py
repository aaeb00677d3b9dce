"""Filter, rarefy and truncate samples, a block at a time."""
