"""A lock between processes that ends with its process, however that ends: no stale locks.

Where nothing can be locked, a process leaves its name, by which others tell whether it still lives.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import socket
import sys
import time
from pathlib import Path
from typing import Callable, Iterator, Optional, Tuple

# File systems that cannot lock: then two processes may do the same work, such as fetch a file, at the same time.
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
    descriptor = _open(path)
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


@contextlib.contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Try to hold a lock within the block, without waiting; yield whether it is held.

    The file is removed at the end: whoever locked the removed one sees that and tries again.

    Args:
        path: As for ``locked``; not to be used with both.
    """
    descriptor = _open(path)
    is_held = False
    try:
        is_held = _try_lock(descriptor)
        while is_held and not _is_there(path, descriptor):
            os.close(descriptor)
            descriptor = _open(path)
            is_held = _try_lock(descriptor)
        yield is_held
    finally:
        if is_held:
            with contextlib.suppress(OSError):  # Windows removes no open file
                os.unlink(path)
        os.close(descriptor)


def own_name() -> str:
    """Return what tells this process from all others: machine, number and start."""
    return f"{_machine()}-{os.getpid()}-{_process(os.getpid())[1]}"


def lives(name: str) -> Optional[bool]:
    """Whether the process of an ``own_name`` still lives; None where that cannot be known, as of another machine.

    Raises:
        ValueError: It is no such name.
    """
    machine, process, start = name.split("-")
    if machine != _machine() or os.name == "nt":  # there os.kill would end the process
        return None
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # another user's
        pass
    state, started = _process(int(process))
    return state not in ("Z", "X") and (started == start or "0" in (started, start))


def _process(process: int) -> Tuple[str, str]:
    """Return a process's state and start in Linux's terms; an empty state and 0 where they are unknown."""
    try:
        status = Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return "", "0"
    # The program's name, in brackets, may contain anything.
    words = status[status.rindex(b")") :].decode().split()
    return words[1], words[20]


@functools.lru_cache(maxsize=None)
def _machine() -> str:
    """Return what tells this machine from others, and a container from its host: process numbers hold in it only."""
    told = [socket.gethostname()]
    with contextlib.suppress(OSError):
        told.append(os.readlink("/proc/self/ns/pid"))
    with contextlib.suppress(OSError):
        told.append(Path("/etc/machine-id").read_text(encoding="utf-8"))
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:8]


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)


def _is_there(path: Path, descriptor: int) -> bool:
    """Whether an open file is still the one of this name."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


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
