"""Heads that predict the distance of two samples."""
