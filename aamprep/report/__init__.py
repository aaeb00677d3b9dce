"""Reports: on the terminal, as HTML pages with plots, and as JSON documents."""
