"""Methods that predict labels: their inputs, and the scikit-learn estimators that learn from them."""
