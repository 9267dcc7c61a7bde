"""Files that are whole or not there: written beside their place, flushed to the disk, then renamed."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import Iterator, Union

PARTIAL = ".partial"
# What the user can set right: these stay as the system raises them.
_USER_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
_NUMBERS = itertools.count()


class WriteError(OSError):
    """A file could not be written, for example on a full disk; what was there before is untouched."""


@contextmanager
def written_beside(path: Union[str, os.PathLike[str]]) -> Iterator[Path]:
    """Give the name of a file next to ``path`` to write to; once on the disk it takes the place of ``path``.

    The name has the suffix of ``path``, so that writers who choose the format by it work, and is unique to this call.

    Args:
        path: The file to write; its folder exists.

    Raises:
        FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk is full or fails. In each case the partial file is removed and ``path`` is as it was.
    """
    path = Path(path)
    partial = path.with_name(f".{path.stem[:100]}.{os.getpid()}-{next(_NUMBERS)}{PARTIAL}{path.suffix}")
    try:
        yield partial
        _flush(partial)
        os.replace(partial, path)
        _flush(path.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, _USER_ERRORS):
            raise WriteError(error.errno, _explain(path, error)) from error
        raise


def write_bytes(path: Union[str, os.PathLike[str]], content: bytes) -> None:
    """Write a file, whole or not at all; missing folders are made. Raises as ``written_beside``."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(path) as partial:
        partial.write_bytes(content)


def write_text(path: Union[str, os.PathLike[str]], content: str) -> None:
    """Write a file in UTF-8, whole or not at all; missing folders are made. Raises as ``written_beside``."""
    write_bytes(path, content.encode("utf-8"))


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    if path.is_dir() and os.name == "nt":  # Windows opens no folders
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason += f" ({shutil.disk_usage(path.parent).free / 2**20:.0f} MB free)"
    return f"{path} could not be written: {reason}"
