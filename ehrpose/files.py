"""Atomic file writes: written next to the target, flushed to disk, then renamed.

A symlink is replaced by a regular file; the file it pointed to keeps its content, as it may be shared (by a dataset
made of links, or a cache). Symlinked folders are followed.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import shutil
import stat
from pathlib import Path
from typing import ContextManager, Iterator, Optional, Union

PARTIAL = ".partial"
PathLike = Union[str, "os.PathLike[str]"]
# Errors that the user can fix keep their type, for which the command line exits with code 2.
_USER_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
# Reported by file systems that cannot flush, such as some network ones: nothing more can be done there.
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# Two containers that share a folder may have the same process id, so each process counts from a random number.
_NUMBERS = itertools.count(int.from_bytes(os.urandom(3), "big"))


class WriteError(OSError):
    """A file could not be written, for example on a full disk; the previous file is untouched."""

    def __str__(self) -> str:
        return str(self.strerror)


class PartialFile:
    """A file written next to its target; ``commit`` moves it into place, ``abort`` removes it.

    For files that stay open for long; ``written_beside`` suits the others.

    Attributes:
        path: The target.
        partial: The file to write to: hidden, unique, and with the suffix of ``path`` for writers that choose the
            format by it.

    Args:
        path: The file to write; its folder need not exist before ``partial`` is written.
        durable: ``commit`` waits until the file is on disk. If False, a power cut in the next half minute may leave an
            empty file; meant for thousands of reproducible files, where waiting takes longer than the work.

    Raises:
        IsADirectoryError: ``path`` is a folder.
        PermissionError: ``path`` is a device or a pipe, or is not accessible.
    """

    def __init__(self, path: PathLike, durable: bool = True):
        self.path, self.durable = Path(path), durable
        self.partial = partial_path(self.path)
        with self.explained():
            _check_replaceable(self.path)

    def commit(self) -> None:
        """Move the file into place, with the permissions of the one it replaces.

        Raises:
            FileNotFoundError, PermissionError: The file cannot be moved there. Like all errors, this removes the
                partial file and leaves ``path`` unchanged.
            WriteError: The disk is full or fails.
        """
        try:
            with self.explained():
                if self.durable:
                    _flush(self.partial)
                _copy_permissions(self.path, self.partial)
                os.replace(self.partial, self.path)
        except BaseException:
            self.abort()
            raise
        if self.durable:
            _flush_names(self.path.parent)

    def abort(self) -> None:
        """Remove the partial file, if there is one."""
        with contextlib.suppress(OSError):  # it would hide the error that led here
            self.partial.unlink()

    def explained(self) -> ContextManager[None]:
        """Convert write errors within the block into those of ``written_beside``."""
        return explained(self.path, self.partial)


@contextlib.contextmanager
def explained(path: PathLike, partial: Optional[PathLike] = None) -> Iterator[None]:
    """Convert write errors within the block into those of ``written_beside``.

    Args:
        path: The target, for the message.
        partial: The temporary file; system errors about it name ``path`` instead.
    """
    try:
        yield
    except WriteError:
        raise
    except _USER_ERRORS as error:
        if partial is not None and str(error.filename) == str(partial):
            raise type(error)(error.errno, error.strerror, str(path)) from error
        raise
    except OSError as error:
        raise WriteError(error.errno, _reason(Path(path), error)) from error


@contextlib.contextmanager
def written_beside(path: PathLike, durable: bool = True) -> Iterator[Path]:
    """Yield a file name next to ``path`` to write to; once on disk, the file replaces ``path``.

    Args:
        path: The file to write; its folder must exist.
        durable: As for ``PartialFile``.

    Raises:
        FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk is full or fails. In each case the partial file is removed and ``path`` is unchanged.
    """
    file = PartialFile(path, durable)
    try:
        with file.explained():
            yield file.partial
        file.commit()
    except BaseException:
        file.abort()
        raise


def write_bytes(path: PathLike, content: bytes, durable: bool = True) -> None:
    """Write a file atomically; missing folders are created. Arguments and errors as for ``written_beside``."""
    make_parent(path)
    with written_beside(path, durable) as partial:
        partial.write_bytes(content)


def write_text(path: PathLike, content: str, durable: bool = True) -> None:
    """Write a UTF-8 file atomically; missing folders are created. Otherwise as ``written_beside``."""
    write_bytes(path, content.encode("utf-8"), durable)


def make_parent(path: PathLike) -> None:
    """Create the folder of a file if it is missing.

    Raises:
        NotADirectoryError: A file is where a folder should be.
        PermissionError: It may not be created.
        WriteError: The disk is full, fails or is read-only.
    """
    folder = Path(path).parent
    with explained(path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error


def partial_path(path: PathLike) -> Path:
    """Return a unique hidden name next to ``path``, with its suffix.

    Raises:
        IsADirectoryError: ``path`` is ``.`` or ``/``.
    """
    path = Path(path)
    if not path.name:  # "." or "/"
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # 40 characters are at most 160 bytes, which leaves room for the rest in the 255 of a name.
    return path.with_name(f".{path.stem[:40]}.{os.getpid()}-{next(_NUMBERS)}{PARTIAL}{path.suffix}")


def _reason(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in _FULL_DISK:
        with contextlib.suppress(OSError):
            folder = next(parent for parent in path.absolute().parents if parent.is_dir())
            reason += f" ({shutil.disk_usage(folder).free / 2**20:.0f} MB free)"
    return f"{path} could not be written: {reason}"


def _check_replaceable(path: Path) -> None:
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        raise PermissionError(errno.EPERM, "Expected a regular file, got a device or pipe", str(path))


def _copy_permissions(replaced: Path, new: Path) -> None:
    """Copy the permissions of the replaced file, if it exists and the file system supports them."""
    if os.name == "nt":  # there a file can only be read-only, and then it cannot be replaced
        return
    with contextlib.suppress(OSError):
        mode = os.lstat(replaced).st_mode
        if stat.S_ISREG(mode):
            os.chmod(new, mode & 0o777)


def _flush(path: Path) -> None:
    """Wait until a file is on disk, as far as its file system can tell."""
    # Windows only flushes files that are open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)


def _flush_names(folder: Path) -> None:
    """Wait until the entries of a folder are on disk, where possible.

    The new file is in place by now, so nothing here is an error: Windows cannot open folders, network file systems do
    not flush them, and a folder may be writable but not readable.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
