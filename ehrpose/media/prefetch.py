"""Read ahead in a separate thread."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable
from typing import Any, TypeVar

Item = TypeVar("Item")
_END = object()


def prefetch(items: Iterable[Item], size: int = 4, newest: bool = False) -> Generator[Item, None, None]:
    """Yield the same items, read up to ``size`` ahead by another thread; its errors are raised here.

    Closing the generator ends the thread.

    Args:
        items: The items to read.
        size: Maximum number of waiting items.
        newest: Never block ``items``: a new item replaces the oldest waiting one, as suits a camera.
    """
    ahead: queue.Queue[Any] = queue.Queue(size)
    stopped = threading.Event()

    def draw() -> None:
        try:
            for item in items:
                if newest and ahead.full():
                    _drop(ahead)
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


def _drop(ahead: queue.Queue[Any]) -> None:
    with contextlib.suppress(queue.Empty):  # it was taken just now
        ahead.get_nowait()


def _put(ahead: queue.Queue[Any], item: Any, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            ahead.put(item, timeout=0.1)
            return True
        except queue.Full:
            continue
    return False
