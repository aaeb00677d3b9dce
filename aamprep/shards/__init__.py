"""Write a shard set, and read it back."""
