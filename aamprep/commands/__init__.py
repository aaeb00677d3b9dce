"""The commands, one per module: their options and their output."""
