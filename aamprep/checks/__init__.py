"""Checks of a study as a whole, and figures for choosing limits."""
