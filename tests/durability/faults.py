"""Faults of a disk, and kills, at a chosen call: every call that changes files in a folder is counted.

Faults are raised from the functions of Python's library, not by a real disk; what a library in C writes is not seen.
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import io
import os
import threading
from pathlib import Path
from typing import Any

ERRORS = ("ENOSPC", "EIO", "EROFS", "EDQUOT")
# Calls that a full disk refuses; it lets files be removed and renamed.
_NEEDS_ROOM = ("open", "write", "mkdir", "fsync", "symlink")
_CHANGES = ("replace", "rename", "mkdir", "symlink", "chmod", "unlink", "remove", "rmdir")


class Killed(BaseException):
    """Stands for the end of the process: after it, nothing changes any more, also not by clean-up handlers."""


class Faults:
    """Counts calls that change files, and lets one of them fail; used as a context.

    After a kill all later calls fail too. A full or read-only disk stays so; an I/O error comes once.

    Args:
        folder: Where calls count.
        at: Number of the call that fails, from 1; None: none does.
        fault: ``"kill"``, or one of ``ERRORS``.

    Attributes:
        calls: Name and file of each call.
        hit: Whether the fault came.
    """

    def __init__(self, folder: Path, at: int | None = None, fault: str = "kill"):
        self.folder = os.path.abspath(folder)
        self.at, self.fault = at, fault
        self.calls: list[tuple[str, str]] = []
        self.hit = False
        self._lock = threading.RLock()
        self._opened: dict[int, str] = {}
        self._real = {name: getattr(os, name) for name in (*_CHANGES, "open", "close", "fsync", "sendfile")}
        self._open_file = io.open

    def __enter__(self) -> Faults:
        self._stack = contextlib.ExitStack()
        for name in _CHANGES:
            self._set(os, name, self._changing(name))
        for name in ("open", "close", "fsync", "sendfile"):
            self._set(os, name, getattr(self, f"_{name}"))
        for module in (io, builtins):
            self._set(module, "open", self._open_io)
        return self

    def __exit__(self, *_: Any) -> None:
        self._stack.close()

    def _set(self, module: Any, name: str, new: Any) -> None:
        self._stack.callback(setattr, module, name, getattr(module, name))
        setattr(module, name, new)

    def reach(self, name: str, path: Any) -> None:
        """Count a call, and fail if it is its turn."""
        with self._lock:
            if self.hit and self.fault == "kill":
                raise Killed
            file = os.path.abspath(os.fsdecode(path))
            if not file.startswith(self.folder + os.sep):
                return
            if name not in (
                "chmod",
                "unlink",
                "remove",
                "rmdir",
            ):  # only tidying, which a kill or later faults hit
                self.calls.append((name, file))
                if len(self.calls) == self.at:
                    self.hit = True
                    if self.fault == "kill":
                        raise Killed
                    raise self._error(file)
            if self.hit and (
                self.fault == "EROFS" or (self.fault in ("ENOSPC", "EDQUOT") and name in _NEEDS_ROOM)
            ):
                raise self._error(file)

    def _error(self, file: str) -> OSError:
        code = getattr(errno, self.fault)
        return OSError(code, os.strerror(code), file)

    def _changing(self, name: str) -> Any:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            # A rename changes its target; a link is the second name.
            self.reach(name, args[0] if name in ("replace", "rename", "symlink") and args else path)
            return self._real[name](path, *args, **kwargs)

        return call

    def _open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if writes:
            self.reach("open", path)
        descriptor = self._real["open"](path, flags, *args, **kwargs)
        self._opened[descriptor] = os.path.abspath(os.fsdecode(path))
        return descriptor

    def _close(self, descriptor: int) -> None:
        self._opened.pop(descriptor, None)
        self._real["close"](descriptor)

    def _fsync(self, descriptor: int) -> None:
        self.reach("fsync", self._opened.get(descriptor, "?"))
        # Not called: that the disk keeps what it was given is not what is tested.

    def _sendfile(self, out: int, *args: Any) -> int:
        self.reach("write", os.readlink(f"/proc/self/fd/{out}"))
        return self._real["sendfile"](out, *args)

    def _open_io(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if not set(mode) & set("wax+"):
            return self._open_file(file, mode, *args, **kwargs)
        if isinstance(file, int):
            name = self._opened.get(file, "?")
        else:
            name = os.fspath(file)
            self.reach("open", name)
        return _Watched(self._open_file(file, mode, *args, **kwargs), name, self)


class _Watched:
    """A file whose writes are counted; it writes without delay, and half of what a fault stops."""

    def __init__(self, file: Any, name: Any, faults: Faults):
        self._file, self._name, self._faults = file, name, faults

    def write(self, data: Any) -> int:
        try:
            self._faults.reach("write", self._name)
        except BaseException:
            self._file.write(data[: len(data) // 2])
            self._file.flush()
            raise
        written = self._file.write(data)
        self._file.flush()
        return written

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: Any) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)
