"""Atomic file writes: written next to the target, flushed to disk, then renamed.

A symlink is replaced by a regular file; the file it pointed to keeps its content, as it may be shared (by a dataset
made of links, or a cache). Symlinked folders are followed.

A partial file has an unpredictable name and is created exclusively, so no link that somebody put there is followed. The
name tells the process that writes it: what a killed one left is removed by the next that writes to the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
from pathlib import Path
from typing import BinaryIO, ContextManager, Iterator, Optional, Set, Union

PARTIAL = ".partial"
PathLike = Union[str, "os.PathLike[str]"]
# Errors that the user can fix keep their type, for which the command line exits with code 2.
_USER_ERRORS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
# What a disk that is full, over a quota, failing or read-only raises.
DISK_ERRORS = (*_FULL_DISK, errno.EIO, errno.EROFS)
# Reported by file systems that cannot flush, such as some network ones: nothing more can be done there.
_CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# .STEM.MACHINE-PROCESS-START-TOKEN.partial.SUFFIX
_PART = re.compile(r"\..*\.([0-9a-f]{8}-\d+-\d+)-[0-9a-f]{16}" + re.escape(PARTIAL) + r"(\..*)?")
# Whether a process of another machine or container lives cannot be known: its parts stay for this long, seconds.
MAX_PART_AGE = 7 * 24 * 3600.0
_SWEPT: Set[str] = set()


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
            check_replaceable(self.path)

    def create(self) -> Path:
        """Create ``partial``, empty and exclusively, and return it. Errors as for ``written_beside``."""
        sweep_once(self.path.parent)
        with self.explained():
            # With O_EXCL, POSIX does not follow a link, whether it leads to a file or to nothing.
            os.close(os.open(self.partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        return self.partial

    def commit(self) -> None:
        """Move the file into place, with the permissions of the one it replaces.

        Raises:
            FileNotFoundError, PermissionError: The file cannot be moved there. Like all errors, this removes the
                partial file and leaves ``path`` unchanged.
            WriteError: The disk is full or fails.
        """
        try:
            with self.explained():
                copy_permissions(self.path, self.partial)
                put_in_place(self.partial, self.path, self.durable)
        except BaseException:
            self.abort()
            raise

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
            yield file.create()
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


def put_in_place(new: PathLike, path: PathLike, durable: bool = True) -> None:
    """Rename a finished file to ``path``; before, its content is on disk, and afterwards its name."""
    if durable:
        sync(new)
    os.replace(new, path)
    if durable:
        sync_names(Path(path).parent)


def open_kept(path: PathLike, append: bool) -> BinaryIO:
    """Open a file that keeps its own name between runs, such as a download's part; a link to one is refused."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    # Windows has no such flag, and needs one for bytes.
    flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o666), "ab" if append else "wb")


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
    """Return a unique, unpredictable, hidden name next to ``path``, with its suffix; ``remove_stale`` recognises it.

    Raises:
        IsADirectoryError: ``path`` is ``.`` or ``/``.
    """
    path = Path(path)
    if not path.name:  # "." or "/"
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    # 40 characters are at most 160 bytes, which leaves room for the rest in the 255 of a name.
    # Loaded here, as opening a model writes no file.
    from ehrpose.locks import own_name

    token = secrets.token_hex(8)
    return path.with_name(f".{path.stem[:40]}.{own_name()}-{token}{PARTIAL}{path.suffix}")


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new private folder for temporary files; it is removed at the end, or by the next run after a kill."""
    place = Path(tempfile.gettempdir())
    sweep_once(place)
    folder = partial_path(place / "ehrpose")
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_stale(folder: PathLike) -> None:
    """Remove the partial files and folders that killed processes left in a folder.

    Those of processes that live stay, and for ``MAX_PART_AGE`` those of other machines and containers. Nothing is an
    error: the folder may be missing, or the parts another user's.
    """
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            named = _PART.fullmatch(entry.name)
            if named is None or not _is_stale(entry.path, named.group(1)):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def sweep_once(folder: Path) -> None:
    """Remove what is stale in a folder the first time that this process writes to it: it may have many files."""
    place = os.path.abspath(folder)
    if place not in _SWEPT:
        _SWEPT.add(place)
        remove_stale(folder)


def _is_stale(path: str, owner: str) -> bool:
    from ehrpose.locks import lives

    is_alive = lives(owner)
    return time.time() - _changed(path) > MAX_PART_AGE if is_alive is None else not is_alive


def _changed(path: str) -> float:
    """Return when a file, or the newest file of a folder, was written last, in seconds since 1970."""
    inside = (os.path.join(top, name) for top, _, names in os.walk(path) for name in names)
    newest = 0.0
    for each in (path, *inside):
        with contextlib.suppress(OSError):
            newest = max(newest, os.lstat(each).st_mtime)
    return newest or time.time()


def _reason(path: Path, error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in _FULL_DISK:
        with contextlib.suppress(OSError):
            folder = next(parent for parent in path.absolute().parents if parent.is_dir())
            reason += f" ({shutil.disk_usage(folder).free / 2**20:.0f} MB free)"
    return f"{path} could not be written: {reason}"


def check_replaceable(path: Path) -> None:
    """Raise IsADirectoryError for a folder, PermissionError for a device or pipe."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise PermissionError(errno.EPERM, "Expected a regular file, got a device or pipe", str(path))


def copy_permissions(replaced: Path, new: Path) -> None:
    """Copy the permissions of the replaced file, if it exists and the file system supports them."""
    if os.name == "nt":  # there a file can only be read-only, and then it cannot be replaced
        return
    with contextlib.suppress(OSError):
        mode = os.lstat(replaced).st_mode
        if stat.S_ISREG(mode):
            os.chmod(new, mode & 0o777)


def sync(path: PathLike) -> None:
    """Wait until a file is on disk, as far as its file system can tell; not what a link points to."""
    if os.path.islink(path):
        return
    # Windows only flushes files that are open for writing.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH:
            error.filename = str(path)
            raise
    finally:
        os.close(descriptor)


def sync_names(folder: PathLike) -> None:
    """Wait until the entries of a folder are on disk; Windows and some file systems cannot do it, so errors pass."""
    with contextlib.suppress(OSError):
        sync(folder)
