"""Read BIOM tables from HDF5 and JSON, and write them as HDF5."""
