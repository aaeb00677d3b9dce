"""Losses of pretraining."""
