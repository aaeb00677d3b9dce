"""Estimate time and memory before a run, and choose a batch size."""
