"""What the readers make of files, good and bad."""
