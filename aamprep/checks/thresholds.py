"""Numbers at which a check warns, or that a report compares, each declared once."""

TOKEN_LIMITS = tuple(2**power for power in range(4, 13))
"""Token limits that `aamprep limits` compares: 16 to 4096."""

REPORTED_TOKEN_LIMITS = tuple(limit for limit in TOKEN_LIMITS if 64 <= limit <= 2048)
"""Token limits that the report of a validation compares."""

KEPT_FRACTION = 0.95
"""Fraction of its reads that a sample should keep under the token limit."""

WORST_FRACTION = 0.05
"""Fraction of the samples that may keep less than the figure that is reported as the worst."""

NEARLY_ALL = 0.99
"""Fraction of its reads from which a sample counts as nearly whole."""

REACHED_FRACTION = 0.9
"""Fraction of the samples that reach the rarefaction depth that is suggested."""

DEPTH_RATIO = 2.0
"""Ratio of the depths of the deepest and the shallowest tenth above which rarefaction is advised."""

PRIMER_FRACTION = 0.5
"""Fraction of the ASVs above which a shared beginning is reported as a primer."""
