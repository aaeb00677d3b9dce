"""Whole tasks from beginning to end: pretrain, resume, distance matrices."""
