"""Join shard sets into a study that is prepared again."""
