"""Readers of BIOM tables: HDF5 and JSON."""
