"""What both programs share and is no part of the contract: errors, files, publishing, text, start and end."""
