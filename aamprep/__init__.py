"""BIOM tables in, validated and truncated Parquet shards out."""
