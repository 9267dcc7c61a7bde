"""How long to wait before a lost source is opened again."""

from __future__ import annotations

import random

_JITTER = 0.2


class Backoff:
    """Growing waits: ``first``, then double, at most ``most``, each up to 20 % shorter or longer, never above ``most``.

    Args:
        first: Seconds.
        most: Seconds.
    """

    def __init__(self, first: float, most: float):
        self.first, self.most, self.attempts = first, most, 0

    def next(self) -> float:
        """Return the next wait, seconds."""
        delay = min(self.most, self.first * 2 ** min(self.attempts, 30))
        self.attempts += 1
        return min(self.most, delay * random.uniform(1 - _JITTER, 1 + _JITTER))

    def reset(self) -> None:
        """Begin with ``first`` again."""
        self.attempts = 0
