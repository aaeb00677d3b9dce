"""One module for each command of `aammodel`."""
