"""Cross-validation: folds, predictions for samples that the fit did not see, scores with intervals."""
