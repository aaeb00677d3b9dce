"""Streams shards into a padding-safe transformer and trains it."""
