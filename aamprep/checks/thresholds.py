"""Thresholds of checks, and the token limits that reports compare.

The thresholds are rules of thumb. Crossing one gives a warning or a note, never an error.
"""

TOKEN_LIMITS = tuple(2**power for power in range(4, 13))
"""Token limits that `aamprep limits` compares: powers of two from 16 to 4096."""

REPORTED_TOKEN_LIMITS = tuple(limit for limit in TOKEN_LIMITS if 64 <= limit <= 2048)
"""Token limits that the report of a validation compares."""

KEPT_FRACTION = 0.95
"""Fraction of its reads that a sample should keep at the token limit."""

WORST_FRACTION = 0.05
"""Fraction of the samples that keep less than the reported worst value. It excludes a few outliers."""

NEARLY_ALL = 0.99
"""Fraction of its reads that a sample must keep to count as nearly whole."""

REACHED_FRACTION = 0.9
"""Fraction of the samples that reach the suggested rarefaction depth."""

LEAST_DEPTH = 1000
"""Number of reads below which a sample is reported as shallow and no rarefaction depth is suggested.

A rule of thumb: 2,000 reads of 16S suffice to recover the relations between samples that millions of reads
show (Caporaso et al. 2011, doi:10.1073/pnas.1000080107).
"""

MANY_SHALLOW = 0.1
"""Fraction of shallow samples from which reports say that samples may have failed in the laboratory."""

DEPTH_RATIO = 2.0
"""Rarefaction is advised if the 90th percentile of depth exceeds the 10th by more than this factor."""

LIBRARY_RATIO = 10.0
"""Rarefaction is also advised if the deepest sample has over ten times the reads of the shallowest.

Rarefaction lowers false discoveries between groups whose average depths differ about ten times (Weiss et al.
2017, doi:10.1186/s40168-017-0237-y).
"""

LEAST_GAIN = 0.1
"""The rarefaction curve bends where twice the reads add at most this fraction of ASVs (median sample)."""

SHARED_FRACTION = 0.05
"""Fraction of the other ASVs that must share a k-mer with a sequence, so that it resembles them."""

PRIMER_FRACTION = 0.5
"""A primer is reported if more than this fraction of the ASVs begins with it."""
