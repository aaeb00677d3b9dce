"""One module for each command: what it takes, and what it prints."""
