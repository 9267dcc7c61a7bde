"""The folder of a batch's items: for each a part and its record, written in this order and each as a whole.

An item is whole if it has a record of this run that fits its part. Whoever works on it holds its claim, which ends with
its process: it is not done by two processes at once (in a store, rarely), and not again once it is whole.
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
from typing import Any, ContextManager, Dict, Iterator, List, Optional, Sequence, Tuple, Union

from ehrpose.batch.folders import open_folder
from ehrpose.batch.items import WorkItem
from ehrpose.batch.part import Part
from ehrpose.batch.storage import StorageError

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
        out: The batch's folder, or its address.
        run: Digest of model and options.

    Attributes:
        files: The folder, with what can be done there.
        started: When the run began, seconds since 1970: what failed before may be tried again.
    """

    def __init__(self, out: Union[str, Path], run: str = ""):
        self.files: Any = open_folder(out)
        self.out, self.run, self.started = self.files.root, run, time.time()

    def make(self) -> None:
        """Create the folder. Errors as for ``make_parent``; of a store, those of ``storage.explained``."""
        self.files.make(ITEMS)

    def seen(self) -> Any:
        """Return what reads many records at once, as they are now: for ``record`` and ``is_whole``."""
        return self.files.seen(ITEMS)

    def claim(self, key: str) -> ContextManager[bool]:
        """Try to claim an item, within a block; yields whether it was free."""
        found: ContextManager[bool] = self.files.claim(f"{ITEMS}/{key}.lock")
        return found

    def tidy(self) -> None:
        """Remove what killed processes left: partial files, and the files of their claims."""
        self.files.tidy(ITEMS)

    def record(self, item: WorkItem, seen: Any = None) -> Optional[Record]:
        """Return the record of an item of this run and these files; None if it was not done yet.

        Args:
            item: The item.
            seen: What ``seen`` returned; None looks now.
        """
        files = seen or self.files
        record = self._read(item.key, files)
        if record is None or (record.run, record.state) != (self.run, item.state):
            return None
        if record.sha256 is not None:
            return record if files.size(self._part(item)) == record.num_bytes else None
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
            PermissionError, WriteError, StorageError: They cannot be written.
        """
        content = part.to_bytes()
        record.sha256, record.num_bytes = hashlib.sha256(content).hexdigest(), len(content)
        self.files.write(self._part(item), content)
        self.write_note(record.key, asdict(record))

    def fail(self, item: WorkItem, kind: str, reason: str, seconds: float = 0.0) -> None:
        """Write the record of an item that has no part. Errors as for ``store``."""
        record = self.new_record(item)
        record.error, record.error_kind, record.seconds = reason, kind, seconds
        self.write_note(record.key, asdict(record))

    def new_record(self, item: WorkItem) -> Record:
        """Return a record to fill in."""
        return Record(item.key, list(item.files), item.state, self.run)

    def part(self, item: WorkItem, record: Record) -> Optional[Part]:
        """Return an item's part; None, and its record is removed, if it is not the one that was written."""
        return next(self.parts([item], [record]))

    def parts(self, items: Sequence[WorkItem], records: Sequence[Record]) -> Iterator[Optional[Part]]:
        """Yield the part of each item likewise."""
        contents = self.files.read_each([self._part(item) for item in items])
        for item, record, content in zip(items, records, contents):
            part = None
            if content is not None and hashlib.sha256(content).hexdigest() == record.sha256:
                with contextlib.suppress(ValueError):
                    part = Part.from_bytes(content)
            if part is None:
                self.forget(item)
            yield part

    def forget(self, item: WorkItem) -> None:
        """Remove an item's record, so that it is done again."""
        self.remove_note(item.key)

    def is_whole(self, item: WorkItem, seen: Any = None) -> bool:
        """Whether the video of an item was found to be one that cannot be cut; ``seen`` as for ``record``."""
        content = self.read_note(self._mark(item.video_key), seen)
        return bool(content and content.get("state") == item.state)

    def mark_whole(self, item: WorkItem, reason: str) -> None:
        """Note that the video of an item cannot be cut. Errors as for ``store``."""
        content = {"state": item.state, "reason": reason}
        self.write_note(self._mark(item.video_key), content)

    def read_note(self, name: str, seen: Any = None) -> Optional[Dict[str, Any]]:
        """Return what a run has noted under a name; None if there is nothing. ``seen`` as for ``record``."""
        try:
            content = json.loads((seen or self.files).read(f"{ITEMS}/{name}.json") or b"")
        except StorageError:  # to do everything again would not help
            raise
        except (OSError, ValueError):
            return None
        return content if isinstance(content, dict) else None

    def write_note(self, name: str, content: Dict[str, Any], durable: bool = True) -> None:
        """Note plain values under a name. Errors as for ``store``."""
        self.files.write(f"{ITEMS}/{name}.json", (json.dumps(content) + "\n").encode("utf-8"), durable)

    def remove_note(self, name: str) -> None:
        """Remove what was noted under a name."""
        self.files.remove(f"{ITEMS}/{name}.json")

    @staticmethod
    def _mark(video_key: str) -> str:
        return f"{video_key}.whole"

    @staticmethod
    def _part(item: WorkItem) -> str:
        return f"{ITEMS}/{item.key}.npz"

    def _read(self, key: str, files: Any) -> Optional[Record]:
        content = self.read_note(key, files)
        try:
            return None if content is None else Record(**content)
        except TypeError:  # of another version
            return None
