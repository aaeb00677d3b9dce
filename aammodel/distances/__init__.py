"""True distances between samples: metrics, their formulas, and sparse sums. NumPy only."""
