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

DEPTH_RATIO = 2.0
"""Rarefaction is advised if the 90th percentile of depth exceeds the 10th by more than this factor."""

PRIMER_FRACTION = 0.5
"""A primer is reported if more than this fraction of the ASVs begins with it."""
