"""Write and read shard sets."""
