"""What several benchmarks share. What you run is one folder up."""
