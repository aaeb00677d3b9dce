"""Training on several processes: ranks, and weights sharded over them."""
