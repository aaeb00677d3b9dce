"""Show the progress of a run in a notebook: one output that is updated in place.

It uses the display protocol of IPython, which needs no widgets, and leaves matplotlib alone.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any

from aammodel.runs.metrics_log import Row

SECONDS_BETWEEN_UPDATES = 0.5


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    # If IPython was never imported, this is no notebook: nothing is imported to find out.
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


@dataclass
class NotebookBar:
    """A progress bar with the losses and speed of the last step, and the last validation below."""

    describe_step: Callable[[Row, int], str]
    describe_validation: Callable[[Row], str]
    _lines: dict[str, str] = field(default_factory=dict)
    _done: tuple[int, int] = (0, 1)
    _handle: Any = None
    _last: float = 0.0

    def on_step(self, row: Row, num_steps: int) -> None:
        """Show a step, unless the last one was shown a moment ago."""
        self._done = (int(row["step"] or 0), num_steps)
        self._lines["step"] = self.describe_step(row, num_steps)
        if time.monotonic() - self._last >= SECONDS_BETWEEN_UPDATES:
            self._show()

    def on_validation(self, row: Row) -> None:
        """Show a validation."""
        self._lines["validation"] = self.describe_validation(row)
        self._show()

    def close(self) -> None:
        """Show the last state."""
        self._show()

    def _show(self) -> None:
        from IPython.display import display

        self._last = time.monotonic()
        done, total = self._done
        lines = list(self._lines.values())
        bar = f'<progress value="{done}" max="{total}" style="width: 100%"></progress>'
        content = {
            "text/html": bar + "".join(f"<div>{escape(line)}</div>" for line in lines),
            "text/plain": "\n".join(lines),
        }
        if self._handle is None:
            self._handle = display(content, raw=True, display_id=True)
        else:
            self._handle.update(content, raw=True)
