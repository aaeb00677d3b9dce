"""The promises of padding safety, and the model that keeps them."""
