"""From files to a study: which files belong together, which ids match."""
