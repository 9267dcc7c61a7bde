"""Several files at once: replaced together, or written in groups that wait for the disk once.

Files that are only of use together, such as a network and its description, are replaced together.

The new files are written to a hidden folder. Renaming it to ``.NAME.new`` is the moment from which on they count; then
they are moved to their places, one by one. If a process is killed before that moment, the old files are untouched; if
it is killed later, whoever opens or writes the set next moves the rest (``finish``).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List

from ehrpose.files import (
    PartialFile,
    PathLike,
    WriteError,
    check_replaceable,
    copy_permissions,
    explained,
    make_parent,
    partial_path,
    put_in_place,
    sweep_once,
    sync,
    sync_names,
)

_ATTEMPTS = 3
# A disk is told to write as many files at once: 64 take about as long as one.
_GROUP = 64
_THREADS = 8
# Seconds after which a group does not wait for further files.
_MAX_WAIT = 1.0


@contextlib.contextmanager
def written_together(path: PathLike) -> Iterator[Path]:
    """Yield a new folder; the files written to it replace those of the same names next to ``path``, together.

    Args:
        path: The file that the set is opened by; its folder must exist. The names of all files begin with its stem.

    Raises:
        FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError: The files cannot be written there.
        WriteError: The disk is full or fails. In each case the old files are there, or the next ``finish`` completes
            the new ones.
    """
    path = Path(path)
    sweep_once(path.parent)
    partial = partial_path(path)
    try:
        with explained(path, partial):
            partial.mkdir()
            try:
                yield partial
            except WriteError as error:
                told = str(error).replace(str(partial), str(path.parent))
                raise WriteError(error.errno, told) from error
            _publish(partial, path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def finish(path: PathLike) -> None:
    """Move the rest of a set to its places if the process that wrote it was killed meanwhile.

    Args:
        path: As for ``written_together``.

    Raises:
        OSError: They cannot be moved, for example in a folder that may not be written to.
    """
    path = Path(path)
    new = _committed(path)
    if os.path.isdir(new) and not os.path.islink(new):
        _move_all(new, path, {})


def _committed(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _publish(partial: Path, path: Path) -> None:
    for file in partial.iterdir():
        check_replaceable(path.parent / file.name)
        copy_permissions(path.parent / file.name, file)
    new = _committed(path)
    for attempt in range(_ATTEMPTS):
        finish(path)
        try:
            put_folder_in_place(partial, new)
            break
        except OSError:
            # Another process writes the same set: its files are put in their places first.
            if attempt == _ATTEMPTS - 1 or not new.is_dir():
                raise
    replaced: Dict[str, bool] = {}
    try:
        _move_all(new, path, replaced)
    except OSError:
        if not any(replaced.values()):  # so the old set is still whole, and the new one need not count
            for name in replaced:
                os.replace(path.parent / name, new / name)
            os.replace(new, partial)
        raise


def _move_all(new: Path, path: Path, replaced: Dict[str, bool]) -> None:
    """Move the files of a folder to their places, and say in ``replaced`` which of those that were moved had a place.

    Descriptions come last: Windows refuses to replace what a program has open, which is rather a network.
    """
    for name in sorted(os.listdir(new), key=lambda name: (name.endswith(".json"), name)):
        if not name.startswith(f"{path.stem}."):  # not from written_together
            continue
        existed = os.path.lexists(path.parent / name)
        with contextlib.suppress(FileNotFoundError):  # another process was faster
            put_in_place(new / name, path.parent / name)
            replaced[name] = existed
    with contextlib.suppress(OSError):
        new.rmdir()


def put_folder_in_place(new: PathLike, path: PathLike) -> None:
    """Rename a finished folder to ``path``; before, its content is on disk, and afterwards its name."""
    for folder, _, names in os.walk(new):
        _sync_all(os.path.join(folder, name) for name in names)
        sync_names(folder)
    os.replace(new, path)
    sync_names(Path(path).parent)


class FileGroup:
    """Many small files, whole or not at all, each written to disk before it gets its name.

    They wait under hidden names until there are enough to wait for the disk once. Several threads may write. At the end
    of the ``with`` block all have their names, also after an error.
    """

    def __init__(self) -> None:
        self._waiting: List[PartialFile] = []
        self._since = 0.0
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def beside(self, path: PathLike) -> Iterator[Path]:
        """Yield a file name next to ``path`` to write to; missing folders are created. Errors as ``written_beside``."""
        make_parent(path)
        file = PartialFile(path, durable=False)
        try:
            with file.explained():
                yield file.create()
        except BaseException:
            file.abort()
            raise
        with self._lock:
            self._since = self._since if self._waiting else time.monotonic()
            self._waiting.append(file)
            if len(self._waiting) >= _GROUP or time.monotonic() - self._since > _MAX_WAIT:
                self.settle()

    def write(self, path: PathLike, content: bytes) -> None:
        """Write one file."""
        with self.beside(path) as partial:
            partial.write_bytes(content)

    def settle(self) -> None:
        """Give all files their names, once they are on disk.

        Raises:
            PermissionError: A file cannot be moved into place.
            WriteError: The disk is full or fails. Files that have no name yet are removed.
        """
        with self._lock:
            waiting, self._waiting = self._waiting, []
            try:
                _sync_all(file.partial for file in waiting)
            except OSError as error:
                failed = next((f for f in waiting if str(f.partial) == str(error.filename)), waiting[0])
                with explained(failed.path, failed.partial):
                    raise
            else:
                for file in waiting:
                    file.commit()
            finally:
                for file in waiting:
                    file.abort()
            for folder in {file.path.parent for file in waiting}:
                sync_names(folder)

    def __enter__(self) -> FileGroup:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        with contextlib.suppress(*(() if kind is None else (OSError,))):
            self.settle()


def _sync_all(paths: Iterable[PathLike]) -> None:
    """Wait until files are on disk, which disks do for several at about the cost of one."""
    files = list(paths)
    if len(files) < 2:
        for file in files:
            sync(file)
        return
    with ThreadPoolExecutor(min(_THREADS, len(files)), thread_name_prefix="sync") as pool:
        for _ in pool.map(sync, files):
            pass
