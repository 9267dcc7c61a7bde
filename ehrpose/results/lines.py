"""Results as lines of JSON that can be read while they are written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Dict, Optional, TextIO, Union

from ehrpose.files import explained, make_parent

STDOUT = "-"


class LineFile:
    """A file of lines that others read meanwhile: each is complete once ``write`` returns.

    Lines are added at the end of a file that exists, so a program that is started again loses nothing.

    Args:
        path: The file, or ``"-"`` for stdout.

    Raises:
        NotADirectoryError, IsADirectoryError, PermissionError: The file cannot be written to.
        WriteError: The disk is full or fails.
    """

    def __init__(self, path: Union[str, Path]):
        self.path = None if str(path) == STDOUT else Path(path)
        self._file: Optional[TextIO] = None
        if self.path is None:
            return
        make_parent(self.path)
        with explained(self.path):
            self._file = self.path.open("a", encoding="utf-8", errors="backslashreplace", newline="\n")

    def write(self, values: Dict[str, Any]) -> None:
        """Add a line.

        Raises:
            BrokenPipeError: Nobody reads stdout any more.
            WriteError: The disk is full or fails.
        """
        line = json.dumps(values) + "\n"
        if self.path is None:
            sys.stdout.write(line)
            sys.stdout.flush()
            return
        assert self._file is not None
        with explained(self.path):
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        """Close the file; stdout stays open."""
        if self._file is not None and self.path is not None:
            with explained(self.path):
                self._file.close()

    def __enter__(self) -> LineFile:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()
