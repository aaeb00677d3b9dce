"""Verify a shard set, byte by byte and number by number."""
