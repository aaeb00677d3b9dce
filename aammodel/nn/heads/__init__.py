"""Heads that predict the distance between two samples."""
