"""Largest sizes of one thing: of a file, a sample, a sequence, a tree.

Real studies stay far below them. A small file can declare far more, and memory would be needed for all of it.
"""

MOST_ENTRIES = 1 << 23
"""Lines, sequences, features or nodes of a file. Each takes up to about 200 bytes of memory."""

MOST_SAMPLES = 1 << 21
"""Samples of a table, and rows of metadata."""

MOST_COLUMNS = 1 << 16
"""Columns of metadata."""

MOST_CELLS = 1 << 26
"""Cells of metadata: rows times columns."""

MOST_LINKS = 100_000
"""Groups and arrays of an HDF5 file."""

LARGEST_SAMPLE = 1 << 21
"""Entries of a sample. The richest soils have fewer than 100,000 ASVs."""

MOST_BASES = 10_000
"""Bases of a sequence. An amplicon of the whole 16S-ITS-23S operon has about 5,000. The tokens of all ASVs
have the length of the longest sequence."""
