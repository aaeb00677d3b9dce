"""The padding-safe transformer."""
