"""A lock between processes that ends with its process, however that ends: no stale locks."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, Optional

# File systems that cannot lock: then two processes may fetch at the same time, and the hash finds mixed parts.
_CANNOT_LOCK = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_HELD = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextlib.contextmanager
def locked(path: Path, on_wait: Optional[Callable[[], None]] = None, poll: float = 0.1) -> Iterator[None]:
    """Hold a lock within the block; wait while another process or thread holds it.

    The operating system frees the lock of a process that ends. The file stays, empty: to remove it would let two
    processes lock two files of one name.

    Args:
        path: The lock's file, in an existing folder; a link is refused.
        on_wait: Called once if there is something to wait for.
        poll: Seconds between attempts.
    """
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    descriptor = os.open(path, flags, 0o666)
    try:
        waits = False
        while not _try_lock(descriptor):
            if not waits and on_wait is not None:
                on_wait()
            waits = True
            time.sleep(poll)
        yield
    finally:
        os.close(descriptor)  # this frees the lock


def _try_lock(descriptor: int) -> bool:
    """Lock a file; return False if another has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD:
            return False
        if error.errno not in _CANNOT_LOCK:
            raise
    return True
