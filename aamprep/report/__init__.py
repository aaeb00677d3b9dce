"""Reports for people: terminal, HTML, plots, JSON documents."""
