"""Files that are written as frames come, and appear when they are whole, or not at all (no torch, Python 3.8)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, TextIO, Union

from ehrpose.files import PartialFile, make_parent


class GrowingFile:
    """A file that stays open while it is written; ``close`` moves it into place, ``abort`` removes it.

    Args:
        path: File to write; its folder is made with the first use of ``writer``.
        start: Opens the partial file, whose path it is given: something with ``close``.

    Raises:
        NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk is full or fails.
    """

    def __init__(self, path: Union[str, Path], start: Callable[[Path], Any]):
        self.path = Path(path)
        self._partial, self._start = PartialFile(path), start
        self._open: Any = None

    @property
    def is_begun(self) -> bool:
        """Whether the file is open."""
        return self._open is not None

    @contextlib.contextmanager
    def writer(self) -> Iterator[Any]:
        """Give what ``start`` returned, within a block whose write errors name the file."""
        with self._partial.explained():
            if self._open is None:
                make_parent(self.path)
                self._open = self._start(self._partial.create())
            yield self._open

    def close(self, end: Any = None) -> None:
        """Write ``end`` if it is not None, and move the file into place; after an error it is removed."""
        try:
            with self.writer() as file:
                if end is not None:
                    file.write(end)
                file.close()
        except OSError:
            self.abort()
            raise
        self._open = None
        self._partial.commit()

    def abort(self) -> None:
        """Remove the file."""
        if self._open is None:
            return
        with contextlib.suppress(OSError):  # on a full disk, the final flush fails too
            self._open.close()
        self._open = None
        self._partial.abort()


def open_text(path: Path) -> TextIO:
    """Open a partial file for text: UTF-8, with escapes for what that cannot hold, and line ends as they are."""
    return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")


class FrameFile:
    """A JSON file with a list of frames, written as they arrive.

    ``close`` moves it into place, ``abort`` removes it.

    Args:
        path: File to write; without frames, none is written.

    Raises:
        NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk is full or fails.
    """

    def __init__(self, path: Union[str, Path]):
        self._file = GrowingFile(path, open_text)
        self.path = self._file.path

    def add(self, frame: Dict[str, Any]) -> None:
        """Write one frame."""
        before = ",\n" if self._file.is_begun else "["
        with self._file.writer() as file:
            file.write(before + json.dumps(frame))

    def close(self) -> bool:
        """End the list and move the file into place; return whether there were frames."""
        if not self._file.is_begun:
            return False
        self._file.close("]\n")
        return True

    def abort(self) -> None:
        """Remove the file."""
        self._file.abort()
