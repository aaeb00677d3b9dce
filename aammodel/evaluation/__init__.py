"""Use a trained model: embed samples, predict distances, compare with baselines."""
