"""Labels of samples: metadata columns, targets of predictions, and groups of samples."""
