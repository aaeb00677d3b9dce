"""Losses. One file is one objective: its loss, its head if it has one, and how its figures are labelled."""
