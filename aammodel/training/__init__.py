"""Training: the step, the optimizer, the loop, and what is shown of them."""
