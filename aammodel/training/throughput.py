"""Where the time of a run goes, and its memory: what lines of metrics say besides losses."""

import os
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
    """What went through the model in a step, over all ranks."""

    samples: int
    slots: float
    """ASV slots, the padded ones among them."""
    real: float
    """Slots that hold an ASV."""
    distinct: float
    """ASVs that were embedded: each once for a batch, however many slots hold it."""


@dataclass
class Clock:
    """Measures from the end of one step, or validation, to the end of the next."""

    _begun: float = 0.0
    """When the first step began."""
    _last: float = field(default_factory=time.perf_counter)
    _waited: float = 0.0
    _num_steps: int = 0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time within as waiting for data."""
        started = time.perf_counter()
        self._begun = self._begun or started
        yield
        self._waited += time.perf_counter() - started

    def seconds(self) -> float:
        """Give the seconds since this was last asked."""
        last, self._last = self._last, time.perf_counter()
        return self._last - last

    def step(self, amounts: Amounts, steps_left: int, device: torch.device) -> Row:
        """Give the figures of the step that ends now.

        Parameters
        ----------
        amounts : Amounts
        steps_left : int
            Steps still to be taken.
        device : torch.device
            Whose memory is told.
        """
        seconds, waited, self._waited = self.seconds(), self._waited, 0.0
        self._num_steps += 1
        return {
            "seconds": seconds,
            "samples_per_second": amounts.samples / seconds,
            "asvs_per_second": amounts.real / seconds,
            "padding_share": 1 - amounts.real / amounts.slots,
            "duplicate_share": 1 - amounts.distinct / amounts.real,
            "data_wait_share": min(1.0, waited / seconds),
            "memory_mib": peak_bytes(device) / 2**20,
            # Validations and checkpoints so far are in it, too.
            "seconds_left": (self._last - self._begun) / self._num_steps * steps_left,
        }


_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def forget_peak(device: torch.device) -> None:
    """Let the peak begin again at what is in use now, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        _RESET.write_text("5")  # see proc_pid_clear_refs(5)
    except OSError:
        return


def peak_bytes(device: torch.device) -> int:
    """Give the most memory in use since `forget_peak`: tensors on a GPU, or this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if _STATUS.exists():
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    # On macOS in bytes, elsewhere in kilobytes; it never falls.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def total_bytes(device: torch.device) -> int:
    """Give the memory of the device, or of this machine."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
