"""How processor time and memory grow when an input becomes ten times as large."""

import gc
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

FACTOR = 10
"""How many times larger the next input is."""
MOST = 15
"""How many times the cost may grow with it. Sorting takes 12 to 13 times."""
LEAST_SECONDS = 0.02
"""Less time than this cannot be compared."""
_RUNS = (4, 3, 1)
"""How often each of three sizes is measured in a round."""
_ROUNDS = 6

Task = Callable[[], object]
"""What is measured."""
Make = Callable[[int, Path], Task]
"""Writes an input of a size into an empty folder, and returns the task that reads it."""


@dataclass(frozen=True)
class Growing:
    """A task whose input grows in one dimension."""

    what: str
    """Task and dimension, in words."""
    size: int
    """Size of the middle input."""
    make: Make


def sequence_of(number: int) -> str:
    """Return a sequence of 60 bases, another one for each number."""
    digits = np.base_repr(number, 4).zfill(12).translate(str.maketrans("0123", "ACGT"))
    return digits + "ACGGTTCA" * 6


def parameters(cases: list[Growing], in_sample: set[str]) -> list[object]:
    """Return the cases as parameters of a test. Those that are not in the sample are marked long."""
    assert in_sample <= {case.what for case in cases}
    return [
        pytest.param(case, id=case.what, marks=() if case.what in in_sample else pytest.mark.long)
        for case in cases
    ]


def check_growth(case: Growing, folder: Path) -> None:
    """Check that time and memory grow at most `MOST` times as the input grows `FACTOR` times.

    Time is compared by the differences between three sizes, since every task has a cost of its own. It is the
    least processor time of several runs: other processes can only add to it. If the comparison fails, all
    are measured again. Memory is the same in every run, but slow to trace, so it is compared for the two
    smaller sizes.
    """
    tasks = []
    for size in (case.size // FACTOR, case.size, case.size * FACTOR):
        of_size = folder / str(size)
        of_size.mkdir()
        tasks.append(case.make(size, of_size))
    # The first run imports modules.
    tasks[0]()
    peaks = [peak_bytes(task) for task in tasks[:2]]
    assert peaks[1] <= MOST * peaks[0], f"{case.what}: {peaks} bytes"
    least = [float("inf")] * 3
    for _ in range(_ROUNDS):
        for index, number in enumerate(_RUNS):
            least[index] = min([least[index], *(seconds(tasks[index]) for _ in range(number))])
        if growth(least) <= MOST:
            break
    assert growth(least) <= MOST, f"{case.what}: {growth(least):.1f} times the time: {least} seconds"
    assert least[2] - least[0] >= LEAST_SECONDS, f"{case.what}: too little to compare: {least} seconds"


def growth(costs: list[float]) -> float:
    """Return how many times the second step of three costs is as large as the first."""
    tiny, small, large = costs
    return (large - small) / max(small - tiny, 1e-9)


def seconds(task: Task) -> float:
    """Return the processor time of a task in this process, all threads included."""
    gc.collect()
    gc.disable()
    start = time.process_time()
    task()
    taken = time.process_time() - start
    gc.enable()
    return taken


def peak_bytes(task: Task) -> int:
    """Return the largest memory of a task: of Python, NumPy and Arrow."""
    before = pa.default_memory_pool()
    arrow = pa.proxy_memory_pool(before)
    pa.set_memory_pool(arrow)
    gc.collect()
    tracemalloc.start()
    try:
        task()
        return tracemalloc.get_traced_memory()[1] + (arrow.max_memory() or 0)
    finally:
        tracemalloc.stop()
        pa.set_memory_pool(before)
