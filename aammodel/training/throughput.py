"""Speed and memory of a run: the values of `metrics.jsonl` that are not losses."""

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from aammodel.runs.metrics_log import Row


@dataclass(frozen=True)
class Amounts:
    """Amounts of data in a step, over all ranks."""

    samples: int
    slots: float
    """Number of ASV slots, including padding."""
    real: float
    """Number of slots that hold an ASV."""
    distinct: float
    """Number of ASVs that were embedded. An ASV is embedded once for each micro-batch that has it."""


@dataclass
class Clock:
    """Measures the time from the end of one step or validation to the end of the next."""

    _begun: float = 0.0
    """Time at which the first step began."""
    _last: float = field(default_factory=time.perf_counter)
    _waited: float = 0.0
    _num_steps: int = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Return a context whose time counts as waiting for data."""
        before = time.perf_counter()
        self._begun = self._begun or before
        yield
        self._waited += time.perf_counter() - before

    def seconds(self) -> float:
        """Return the seconds since the last call."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last

    def step(self, amounts: Amounts, steps_left: int, device: torch.device) -> Row:
        """Return the speed and memory of the step that ends now, by their keys in `metrics.jsonl`.

        Parameters
        ----------
        amounts : Amounts
        steps_left : int
            Number of steps still to be taken.
        device : torch.device
            Device whose memory is reported.
        """
        seconds, waited, self._waited = self.seconds(), self._waited, 0.0
        self._num_steps += 1
        return {
            "seconds": seconds,
            "samples_per_second": amounts.samples / seconds,
            "asvs_per_second": amounts.real / seconds,
            "padding_fraction": 1 - amounts.real / amounts.slots,
            "duplicate_fraction": 1 - amounts.distinct / amounts.real,
            "data_wait_fraction": min(1.0, waited / seconds),
            "memory_mib": peak_bytes(device) / 2**20,
            # The mean time of a step includes the validations and checkpoints so far.
            "seconds_left": (self._last - self._begun) / self._num_steps * steps_left,
        }


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak(device: torch.device) -> None:
    """Reset the peak to the memory in use now, if the system allows it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        # The value 5 resets VmHWM, the peak of resident memory: see man proc_pid_clear_refs.
        _RESET.write_text("5")
    except OSError:
        return


def peak_bytes(device: torch.device) -> int:
    """Return the peak of memory since `reset_peak`, in bytes: of tensors on a GPU, or of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():
        lines = _STATUS.read_text().split("\n")
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    # The unit is bytes on macOS and KiB elsewhere (man getrusage). This peak cannot be reset.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
