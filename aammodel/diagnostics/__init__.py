"""Find the first non-finite value of a step and the samples behind it."""
