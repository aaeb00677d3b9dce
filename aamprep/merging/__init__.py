"""Merge shard sets into one."""
