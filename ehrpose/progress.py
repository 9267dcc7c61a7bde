"""How much of a long job is done, and how fast: a bar on stderr, by rich, which comes with MMEngine."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any, Deque, Optional


class Rate:
    """Frames a second over the last ones.

    Args:
        window: How many frames are looked at.
    """

    def __init__(self, window: int = 30):
        self._times: Deque[float] = deque(maxlen=window + 1)

    def step(self, count: int = 1) -> float:
        """Count ``count`` frames as done now and return frames a second; 0 at the first."""
        self._times.extend([time.perf_counter()] * count)
        seconds = self._times[-1] - self._times[0]
        return 0.0 if seconds <= 0 else (len(self._times) - 1) / seconds


class Progress:
    """A bar on stderr with count, rate and remaining time; nothing where stderr is neither a terminal nor a notebook.

    As a context manager it ends by itself.

    Args:
        total: How many there are; None if unknown.
        label: Text before the bar.
        unit: ``"bytes"`` shows MB and MB/s, ``""`` a plain count.
        done: How many are done at the start.

    Attributes:
        is_shown: Whether there is a bar.
    """

    def __init__(self, total: Optional[int], label: str = "", unit: str = "", done: int = 0):
        self.total, self.done = total, done
        self._first, self._start = done, time.perf_counter()
        self._bar, self._task = _open_bar(total, label, unit, done)

    @property
    def is_shown(self) -> bool:
        return self._bar is not None

    def step(self, count: int = 1) -> None:
        """Count ``count`` more as done."""
        self.show(self.done + count)

    def show(self, done: int, total: Optional[int] = None, note: str = "") -> None:
        """Show how many are done in all.

        Args:
            done: How many.
            total: Of how many; None leaves it as it is.
            note: Text after the bar.
        """
        self.done = done
        self.total = self.total if total is None else total
        if self._bar is not None:
            seconds = max(time.perf_counter() - self._start, 1e-9)
            rate = f"{(done - self._first) / seconds:.1f}/s"
            self._bar.update(self._task, completed=done, total=self.total, rate=rate, note=note)

    def print(self, line: str) -> None:
        """Print a line on stderr, above the bar."""
        if self._bar is None:
            print(line, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(line, highlight=False, soft_wrap=True, markup=False)

    def end(self) -> None:
        """Leave the bar as it is; further calls show nothing."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()


def _open_bar(total: Optional[int], label: str, unit: str, done: int) -> Any:
    """Return rich's display and its task; (None, None) where nobody would see it."""
    from rich import progress
    from rich.console import Console

    console = Console(stderr=True)
    if not (console.is_terminal or console.is_jupyter):
        return None, None
    text = progress.TextColumn
    count = [progress.MofNCompleteColumn(), text("{task.fields[rate]}")]
    if unit == "bytes":
        count = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
    before = [text("{task.description}", markup=False)] if label else []
    left = [progress.TimeRemainingColumn(), text("{task.fields[note]}", markup=False)]
    bar = progress.Progress(*before, progress.BarColumn(), *count, *left, console=console)
    task = bar.add_task(label, total=total, completed=done, rate="", note="")
    bar.start()
    return bar, task
