"""What a stream has delivered so far: counts, rate and latency."""

from __future__ import annotations

import time
from collections import deque
from typing import Any, Deque, Dict, Optional, Tuple

import numpy as np

from ehrpose.counted import counted

# Frames that latencies are kept of, and seconds that the rate is averaged over.
_KEPT, _WINDOW_S = 10_000, 5.0


class StreamStats:
    """Counts of one source. The reading thread and the one that finds people each write their own fields.

    Attributes:
        read: Pictures that were decoded.
        dropped: Pictures that were replaced by a newer one before anybody took them.
        broken: Packets and pictures that could not be decoded, and were skipped.
        reconnects: How often the source was opened again.
        frames: Pictures in which people were looked for.
        people: People found in them.
    """

    def __init__(self) -> None:
        self.read = self.dropped = self.broken = self.reconnects = 0
        self.frames = self.people = 0
        self._latencies: Deque[float] = deque(maxlen=_KEPT)
        self._times: Deque[float] = deque()
        self._first: Optional[float] = None

    def add(self, latency: float, people: int) -> None:
        """Count a picture that is done.

        Args:
            latency: From its arrival to its people, seconds.
            people: Their number.
        """
        now = time.monotonic()
        self._first = now if self._first is None else self._first
        self.frames += 1
        self.people += people
        self._latencies.append(latency)
        self._times.append(now)
        while self._times[0] < now - _WINDOW_S:
            self._times.popleft()

    @property
    def fps(self) -> float:
        """Pictures per second that were done in the last five seconds."""
        now = time.monotonic()
        recent = [when for when in self._times if when >= now - _WINDOW_S]
        if len(recent) < 2:
            return 0.0
        # A stream that stands still falls to 0; one that runs is not disturbed by where its last frame lies.
        idle = now - recent[-1]
        usual = (recent[-1] - recent[0]) / (len(recent) - 1)
        return float((len(recent) - 1) / max(recent[-1] - recent[0] + max(0.0, idle - usual), 1e-9))

    @property
    def mean_fps(self) -> float:
        """Pictures per second from the first to the last, with the time in which the source was away."""
        if self._first is None or self.frames < 2:
            return 0.0
        return (self.frames - 1) / max(self._times[-1] - self._first, 1e-9)

    @property
    def latency(self) -> Optional[Tuple[float, float]]:
        """Median and 95th percentile of the last 10,000 latencies, seconds; None without a picture."""
        kept = list(self._latencies)
        if not kept:
            return None
        median, high = np.percentile(kept, [50, 95])
        return float(median), float(high)

    def to_dict(self) -> Dict[str, Any]:
        """Return the counts, ``fps``, and ``latency_ms`` with ``median`` and ``p95`` (None without a picture)."""
        latency = self.latency
        shown = None
        if latency is not None:
            shown = {"median": round(1000 * latency[0], 1), "p95": round(1000 * latency[1], 1)}
        return {
            "frames": self.frames, "people": self.people, "read": self.read, "dropped": self.dropped,
            "broken": self.broken, "reconnects": self.reconnects, "fps": round(self.fps, 2), "latency_ms": shown,
        }  # fmt: skip

    def line(self, fps: float) -> str:
        """Return the counts in words.

        Args:
            fps: The rate to state: ``fps`` or ``mean_fps``.
        """
        latency = self.latency
        words = [counted(self.frames, "frame"), f"{self.dropped} dropped", f"{fps:.1f} fps"]
        if latency is not None:
            words.append(f"latency {1000 * latency[0]:.0f} ms (95 %: {1000 * latency[1]:.0f} ms)")
        if self.broken:
            words.append(f"{self.broken} broken")
        if self.reconnects:
            words.append(counted(self.reconnects, "reconnect"))
        return ", ".join(words)
