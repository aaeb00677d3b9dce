"""Import models of other programs."""
