"""Phylogenies: the branches that samples cover, and midpoint rooting."""
