"""What both programs share and is no schema: errors, files, publishing of folders, exit codes."""
