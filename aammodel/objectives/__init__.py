"""Losses, one file per objective: its loss, its head if it has one, and labels for plots and tables."""
