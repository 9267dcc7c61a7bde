"""How many frames are done, and how fast."""

from __future__ import annotations

import sys
import time
from collections import deque


class Rate:
    """Frames a second over the last ones.

    Args:
        window: How many frames are looked at.
    """

    def __init__(self, window: int = 30):
        self._times: deque[float] = deque(maxlen=window + 1)

    def step(self, count: int = 1) -> float:
        """Count ``count`` frames as done now and return frames a second; 0 at the first."""
        self._times.extend([time.perf_counter()] * count)
        seconds = self._times[-1] - self._times[0]
        return 0.0 if seconds <= 0 else (len(self._times) - 1) / seconds


class Progress:
    """A line on stderr: how many, how many a second, and how long still.

    Args:
        total: How many there are; None where nobody knows.
    """

    def __init__(self, total: int | None):
        self.total, self.done, self.start, self.shown = total, 0, time.perf_counter(), 0.0

    def step(self, count: int) -> None:
        """Count ``count`` more as done."""
        self.done += count
        now = time.perf_counter()
        if now - self.shown > 0.2:
            self.shown = now
            self._print(now - self.start)

    def end(self) -> None:
        """Leave the line as it is."""
        if self.done:
            self._print(time.perf_counter() - self.start)
            print(file=sys.stderr)

    def _print(self, seconds: float) -> None:
        rate = self.done / max(seconds, 1e-9)
        of = "" if self.total is None else f"/{self.total}"
        left = "" if self.total is None else f", {max(0, self.total - self.done) / rate:.0f} s left"
        print(f"\r{self.done}{of}, {rate:.1f}/s{left}   ", end="", file=sys.stderr, flush=True)
