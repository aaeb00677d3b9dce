"""Reports on runs: curves, HTML, comparison."""
