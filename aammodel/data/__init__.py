"""Shards to batches: open a shard set, order its samples, read them, mask them, collate them."""
