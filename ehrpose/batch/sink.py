"""The folder of a batch's items: for each a part and its record, written in this order and each by a rename.

An item is whole if it has a record of this run that fits its part. Whoever works on it holds its claim, a lock that
ends with its process: it is never done by two processes at once, and not again once it is whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ContextManager, Dict, List, Optional, Tuple, Union

from ehrpose.batch.items import WorkItem
from ehrpose.batch.part import Part
from ehrpose.files import make_parent, remove_stale, write_bytes, write_text
from ehrpose.locks import claimed

ITEMS = "items"
# Kinds of errors: of a file, which stays as it is until the file changes; of a run, such as a killed process.
INPUT, RUN = "input", "run"


@dataclass
class Record:
    """The manifest's entry of an item, next to its part.

    Attributes:
        key: The item's.
        files: Its photos, or its video.
        state: State of the files when they were read.
        run: Digest of model and options.
        sha256: Hash of the part; None if there is none.
        num_bytes: Size of the part.
        frames: Number of photos or frames read.
        people: Number of people found.
        errors: Index in the part and reason of each photo that could not be read.
        note: What is missing of a video; empty if it is whole.
        error: Why there is no part; None if there is one.
        error_kind: ``"input"`` or ``"run"``.
        seconds: How long it took.
        ended: When, seconds since 1970.
        process: Number of the process.
        host: Name of its machine.
    """

    key: str
    files: List[str]
    state: str
    run: str
    sha256: Optional[str] = None
    num_bytes: int = 0
    frames: int = 0
    people: int = 0
    errors: List[Tuple[int, str]] = field(default_factory=list)
    note: str = ""
    error: Optional[str] = None
    error_kind: str = ""
    seconds: float = 0.0
    ended: float = field(default_factory=time.time)
    process: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)


class Sink:
    """The parts and records of a batch.

    Args:
        out: The batch's folder.
        run: Digest of model and options.

    Attributes:
        folder: Where parts and records are.
        started: When the run began, seconds since 1970: what failed before may be tried again.
    """

    def __init__(self, out: Union[str, Path], run: str = ""):
        self.out, self.run, self.started = Path(out), run, time.time()
        self.folder = self.out / ITEMS

    def make(self) -> None:
        """Create the folder. Errors as for ``make_parent``."""
        make_parent(self.folder / "part")

    def claim(self, key: str) -> ContextManager[bool]:
        """Try to claim an item, within a block; yields whether it was free."""
        return claimed(self.folder / f"{key}.lock")

    def tidy(self) -> None:
        """Remove what killed processes left: partial files, and the files of their claims."""
        remove_stale(self.folder)
        for path in self.folder.glob("*.lock"):
            with claimed(path):
                pass

    def record(self, item: WorkItem) -> Optional[Record]:
        """Return the record of an item of this run and these files; None if it was not done yet."""
        record = self._read(item.key)
        if record is None or (record.run, record.state) != (self.run, item.state):
            return None
        if record.sha256 is not None:
            try:
                is_there = self._part(item).stat().st_size == record.num_bytes
            except OSError:
                is_there = False
            return record if is_there else None
        return record if record.error is not None else None

    def is_open(self, record: Optional[Record], retry_failed: bool = False) -> bool:
        """Whether an item with this record is still to be done.

        What failed is tried again by a later run: always if the reason was the run, such as a killed process, and with
        ``retry_failed`` also if it was the file.
        """
        if record is None:
            return True
        has_failed = record.error is not None or bool(record.errors)
        is_retried = record.error_kind == RUN or retry_failed
        return has_failed and is_retried and record.ended < self.started

    def store(self, item: WorkItem, part: Part, record: Record) -> None:
        """Write an item's part, then its record.

        Raises:
            PermissionError, WriteError: They cannot be written.
        """
        content = part.to_bytes()
        record.sha256, record.num_bytes = hashlib.sha256(content).hexdigest(), len(content)
        write_bytes(self._part(item), content)
        self._write(record)

    def fail(self, item: WorkItem, kind: str, reason: str, seconds: float = 0.0) -> None:
        """Write the record of an item that has no part. Errors as for ``store``."""
        record = self.new_record(item)
        record.error, record.error_kind, record.seconds = reason, kind, seconds
        self._write(record)

    def new_record(self, item: WorkItem) -> Record:
        """Return a record to fill in."""
        return Record(item.key, list(item.files), item.state, self.run)

    def part(self, item: WorkItem, record: Record) -> Optional[Part]:
        """Return an item's part; None, and its record is removed, if it is not the one that was written."""
        try:
            content = self._part(item).read_bytes()
            if hashlib.sha256(content).hexdigest() == record.sha256:
                return Part.from_bytes(content)
        except (FileNotFoundError, ValueError):
            pass
        self.forget(item)
        return None

    def forget(self, item: WorkItem) -> None:
        """Remove an item's record, so that it is done again."""
        with contextlib.suppress(FileNotFoundError):
            self._record(item.key).unlink()

    def is_whole(self, item: WorkItem) -> bool:
        """Whether the video of an item was found to be one that cannot be cut."""
        content = self._json(self._mark(item.video_key))
        return bool(content and content.get("state") == item.state)

    def mark_whole(self, item: WorkItem, reason: str) -> None:
        """Note that the video of an item cannot be cut. Errors as for ``store``."""
        content = {"state": item.state, "reason": reason}
        write_text(self._mark(item.video_key), json.dumps(content) + "\n")

    def _mark(self, video_key: str) -> Path:
        return self.folder / f"{video_key}.whole.json"

    def _part(self, item: WorkItem) -> Path:
        return self.folder / f"{item.key}.npz"

    def _record(self, key: str) -> Path:
        return self.folder / f"{key}.json"

    def _write(self, record: Record) -> None:
        write_text(self._record(record.key), json.dumps(asdict(record)) + "\n")

    def _read(self, key: str) -> Optional[Record]:
        content = self._json(self._record(key))
        try:
            return None if content is None else Record(**content)
        except TypeError:  # of another version
            return None

    @staticmethod
    def _json(path: Path) -> Optional[Dict[str, Any]]:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None
