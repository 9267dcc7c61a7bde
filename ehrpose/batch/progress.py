"""How far a batch is: a bar in a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from typing import Any, Optional, Sequence

from ehrpose.batch.items import WorkItem
from ehrpose.counted import counted
from ehrpose.progress import Progress

# Seconds between lines where there is no terminal.
_LINE = 60.0


class BatchProgress:
    """Counts photos and frames over all items, with the time left.

    Args:
        items: What is to be done.
        num_items: Items in all, with those that were done before.
    """

    def __init__(self, items: Sequence[WorkItem], num_items: int):
        self._done, self._total = 0, sum(item.weight for item in items)
        self._items, self._num_items = num_items - len(items), num_items
        self._start = self._last = time.monotonic()
        self._waits = False
        self._bar = Progress(self._total)
        self._show()

    def add(self, frames: int) -> None:
        """Count photos or frames as done; fewer than none as lost with a process."""
        self._done += frames
        self._show()

    def finish(self, item: WorkItem, frames: Optional[int]) -> None:
        """Count an item as done.

        Args:
            item: The item, with the number of frames that was expected.
            frames: The number that was added for it; None: it was not done here.
        """
        self._items += 1
        if frames is None:
            self._done += item.weight
        else:
            self._total += frames - item.weight
        self._show()

    def wait(self, num_items: int) -> None:
        """Say once that other runs are at the last items."""
        if not self._waits:
            self._waits = True
            self._bar.print(f"waiting for {counted(num_items, 'item')} of another run")

    def end(self) -> None:
        """Stop the bar."""
        self._bar.end()

    def _show(self) -> None:
        done, total = max(0, self._done), max(1, self._total, self._done)
        self._bar.show(done, total, f"{self._items} of {counted(self._num_items, 'item')}")
        now = time.monotonic()
        if self._bar.is_shown or now - self._last < _LINE:
            return
        self._last = now
        rate = done / (now - self._start)
        left = f", about {(total - done) / rate / 60:.0f} min left" if rate > 0 else ""
        print(
            f"{self._items} of {counted(self._num_items, 'item')}, {rate:.1f} frames/s{left}",
            file=sys.stderr,
            flush=True,
        )


class _NoProgress:
    def add(self, frames: int) -> None:
        """Show nothing; likewise the others."""

    finish: Any = lambda self, item, frames: None
    wait: Any = add
    end: Any = lambda self: None


NO_PROGRESS = _NoProgress()
