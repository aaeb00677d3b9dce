"""Configuration of models and of training, and its TOML file."""
