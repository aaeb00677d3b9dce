"""`aammodel` without the check that counts fit into float32, so that one sample becomes non-finite."""

import math

from aammodel.cli import main
from aammodel.data import sample_checks

sample_checks.LARGEST_TOTAL = math.inf

if __name__ == "__main__":
    main()
