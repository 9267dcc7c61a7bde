"""What the web server allows: sizes, times, numbers. One object, so that tests can make them small."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class BusyError(RuntimeError):
    """The server has no room for a photo now; ``retry_s`` is when to ask again, in seconds."""

    def __init__(self, message: str, retry_s: int = 1):
        super().__init__(message)
        self.retry_s = retry_s


@dataclass(frozen=True)
class Limits:
    """Limits of the server; times in seconds.

    Attributes:
        max_bytes: Maximum size of an uploaded file.
        max_pixels: Maximum number of pixels of a photo, and of all photos that are decoded at the same time.
        bodies: Maximum size of all uploads in memory, as declared; at least one of ``max_bytes`` fits, and one more of
            a client that has none.
        head_s: From the connection, or the answer before, until a request's headers are complete.
        body_s: From the headers until the body is complete.
        grace_s: After this time, the body so far must have come with ``min_rate``.
        min_rate: Slowest average speed of a body, bytes per second.
        wait_s: In the queue of a model.
        open_s: For opening a model, and for each photo until people were found once: code is compiled then.
        photo_s: For decoding a photo and finding its people.
        write_s: For taking an answer.
        linger_s: For reading on after a refusal, so that the sender sees it; ends after a pause of ``pause_s``.
        pause_s: See ``linger_s``.
        connections: Connections that are answered; twice as many are accepted at most.
        queue: Photos waiting for a model, not counting the one in progress; those still being uploaded count. As many
            more places are for clients without a photo there.
        watchers: Connections that receive the results of streams.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    bodies: int = 40_000_000
    head_s: float = 10.0
    body_s: float = 60.0
    grace_s: float = 5.0
    min_rate: float = 20_000.0
    wait_s: float = 60.0
    open_s: float = 180.0
    photo_s: float = 30.0
    write_s: float = 30.0
    linger_s: float = 15.0
    pause_s: float = 1.0
    connections: int = 100
    queue: int = 4
    watchers: int = 32


class Budget:
    """A quantity that requests share: bytes or pixels.

    Args:
        total: How much there is.
        what: Its name in messages.
        extra: How much more there is for a client that holds nothing.
    """

    def __init__(self, total: int, what: str, extra: int = 0):
        self.total, self.what, self.extra, self.used = total, what, extra, 0
        self._holding: Counter[str] = Counter()
        self._freed = asyncio.Event()

    @contextmanager
    def take(self, amount: int, client: str = "") -> Iterator[None]:
        """Hold ``amount`` for a client while the context lasts.

        Raises:
            BusyError: Too much is held.
        """
        total = self.total if self._holding[client] else self.total + self.extra
        if self.used + amount > total:
            raise BusyError(f"the server already holds many {self.what}: try again in a moment")
        self.used += amount
        self._holding[client] += 1
        try:
            yield
        finally:
            self._holding[client] -= 1
            if not self._holding[client]:
                del self._holding[client]
            self.release(amount)

    async def acquire(self, amount: int) -> None:
        """Wait until others have returned enough, then hold ``amount``, which is at most ``total``."""
        while self.used + amount > self.total:
            self._freed = asyncio.Event()
            await self._freed.wait()
        self.used += amount

    def release(self, amount: int) -> None:
        """Return ``amount``."""
        self.used -= amount
        self._freed.set()
