"""Read and write run folders: configuration, checkpoints, metrics, the trained model."""
