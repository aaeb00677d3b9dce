"""Phylogenies: branches that samples cover, and midpoint rooting."""
