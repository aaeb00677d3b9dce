"""Code that both programs share beside the contract: errors, files, publishing, text, startup and exit."""
