"""Labels of samples: metadata columns, what is to be predicted, and which samples belong together."""
