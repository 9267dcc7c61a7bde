"""Reading ahead in a thread of its own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

Item = TypeVar("Item")
_END = object()


def prefetch(items: Iterable[Item], size: int = 4) -> Iterator[Item]:
    """Give the same items, drawn by another thread up to ``size`` ahead; its errors are raised here.

    Closing the generator ends the thread.
    """
    ahead: queue.Queue[Any] = queue.Queue(size)
    stopped = threading.Event()

    def draw() -> None:
        try:
            for item in items:
                if not _put(ahead, item, stopped):
                    return
            _put(ahead, _END, stopped)
        except BaseException as error:
            _put(ahead, _Raised(error), stopped)

    thread = threading.Thread(target=draw, name="prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item = ahead.get()
            if item is _END:
                return
            if isinstance(item, _Raised):
                raise item.error
            yield item
    finally:
        stopped.set()
        thread.join()


class _Raised:
    def __init__(self, error: BaseException):
        self.error = error


def _put(ahead: queue.Queue[Any], item: Any, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            ahead.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
