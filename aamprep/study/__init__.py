"""Combine input files into a study: find the files, resolve feature ids, and compare ids between files."""
