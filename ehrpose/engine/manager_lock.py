"""MMEngine's lock of named objects: loggers, visualizers, message hubs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.utils import manager


@contextmanager
def manager_lock_freed() -> Iterator[None]:
    """Free MMEngine's lock if the block fails.

    MMEngine keeps it when the object that it makes raises an error; every other thread that logs would then wait for
    ever.
    """
    try:
        yield
    except BaseException:
        lock: Any = manager._lock
        while lock._is_owned():
            lock.release()
        raise
