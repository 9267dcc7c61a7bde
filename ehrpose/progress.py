"""Progress and speed of a long job: a bar on stderr, drawn by rich, which comes with MMEngine."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import Any, Deque, Optional


class Rate:
    """Frames per second over the last few frames.

    Args:
        window: Number of frames to average over.
    """

    def __init__(self, window: int = 30):
        self._times: Deque[float] = deque(maxlen=window + 1)

    def step(self, count: int = 1) -> float:
        """Count ``count`` frames as done now and return the frames per second; 0 on the first call."""
        self._times.extend([time.perf_counter()] * count)
        seconds = self._times[-1] - self._times[0]
        return 0.0 if seconds <= 0 else (len(self._times) - 1) / seconds


class Progress:
    """A bar on stderr with count, rate and remaining time; hidden if stderr is neither a terminal nor a notebook.

    As a context manager, it ends by itself.

    Args:
        total: Total count; None if unknown.
        label: Text before the bar.
        unit: ``"bytes"`` shows MB and MB/s, ``""`` a plain count.
        done: Count at the start.

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
        """Set the count of items done so far.

        Args:
            done: Count so far.
            total: New total; None keeps the old one.
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
        """Stop the bar, which stays visible; further calls show nothing."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self.end()


def _open_bar(total: Optional[int], label: str, unit: str, done: int) -> Any:
    """Return rich's display and its task; (None, None) without a terminal or notebook, or without rich."""
    try:  # it comes with MMEngine, which the runtime does without
        from rich import progress
        from rich.console import Console
    except ImportError:
        return None, None

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
