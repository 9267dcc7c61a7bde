"""Reading sources in tests: with short time limits for the sources, and long ones for the tests."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from ehrpose.media.live import LiveOptions, LiveSources, parse_sources

# How long a test waits for something that happens much sooner, seconds.
DEADLINE = 60
OPTIONS = dict(open_s=10, read_s=1.5, stall_s=0.5, first_delay=0.1, max_delay=0.5)


class Reading:
    """Sources being read, and what was told about them."""

    def __init__(self, words, **options):
        self.told = []
        self.sources = LiveSources(parse_sources(words), LiveOptions(**{**OPTIONS, **options}), self._tell)

    def _tell(self, source, state, reason):
        self.told.append((source.name, state, reason))

    @property
    def one(self):
        (source,) = self.sources.sources
        return source

    def states(self, name=None):
        return [state for other, state, _ in self.told if name in (None, other)]

    def take(self):
        """Return the next frame; None once the sources are over."""
        end = time.monotonic() + DEADLINE
        frames = self.sources.take(stop=lambda: time.monotonic() > end)
        assert frames or time.monotonic() < end, f"no picture in {DEADLINE} s: {self.told}"
        return frames[0] if frames else None

    def until(self, true, most=100_000):
        """Take frames until a condition holds after one; return that frame."""
        end = time.monotonic() + DEADLINE
        for _ in range(most):
            frames = self.sources.take(stop=lambda: true(None) or time.monotonic() > end)
            frame = frames[0] if frames else None
            if true(frame):
                return frame
            assert frame is not None, f"not within {DEADLINE} s, or over: {self.told}"
            assert time.monotonic() < end, f"not within {DEADLINE} s: {self.told}"
        raise AssertionError(f"not within {most} pictures: {self.told}")


@contextmanager
def reading(words, **options):
    """Yield a Reading of sources; afterwards their threads have ended."""
    is_read = Reading([words] if isinstance(words, str) else words, **options)
    with is_read.sources:
        yield is_read
    wait_for(lambda: not stream_threads(), "threads of streams go on")


def stream_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("stream-")]


def wait_for(true, what):
    """Wait until a condition holds."""
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)
