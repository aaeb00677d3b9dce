"""One module for each kind of file that researchers have."""
