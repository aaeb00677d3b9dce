"""Modules that several benchmarks share. The scripts that you run are one folder up."""
