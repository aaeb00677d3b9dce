"""The run folder: configuration, checkpoints, metrics, the trained model."""
