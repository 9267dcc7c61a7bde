"""How the system schedules this process's threads, kept as it is while an encoder opens."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def kept_scheduling() -> Iterator[None]:
    """Give every thread its policy and priority back at the end; threads made within get the caller's.

    As root, SVT-AV1 makes its threads real-time ones of the highest priority, and with them the thread that opens it,
    whose later threads and processes inherit that: nothing else on the machine runs any more while they are busy.
    Outside Linux nothing is done.
    """
    before = _policies()
    own = before.get(threading.get_native_id())
    try:
        yield
    finally:
        if own is not None:
            for thread, now in _policies().items():
                wanted = before.get(thread, own)
                if now != wanted:
                    with contextlib.suppress(OSError):  # the thread has ended
                        os.sched_setscheduler(thread, wanted[0], os.sched_param(wanted[1]))


def _policies() -> dict[int, tuple[int, int]]:
    """Return policy and priority of each thread of this process; empty where the system does not tell."""
    found: dict[int, tuple[int, int]] = {}
    if not hasattr(os, "sched_getscheduler"):
        return found
    with contextlib.suppress(OSError):
        for entry in Path("/proc/self/task").iterdir():
            thread = int(entry.name)
            with contextlib.suppress(OSError):
                found[thread] = os.sched_getscheduler(thread), os.sched_getparam(thread).sched_priority
    return found
