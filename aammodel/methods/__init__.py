"""Methods that predict labels: what each learns from, and the scikit-learn estimator that learns."""
