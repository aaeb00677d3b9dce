"""The catalogue of rules, and findings that refer to it."""
