"""The files that a batch is for: a table of each video, one of the photos, one of all, and a list of what failed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import multiprocessing
import shutil
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

from ehrpose.batch.items import Plan, VideoPlan, WorkItem
from ehrpose.batch.merge import join_photos, join_video
from ehrpose.batch.options import FORMATS, BatchOptions
from ehrpose.batch.sink import Record, Sink
from ehrpose.batch.storage import is_address
from ehrpose.cpu import available_cores
from ehrpose.files import written_beside
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.results.results import Results
from ehrpose.results.writers import WRITERS, printable
from ehrpose.version import __version__

# Frames from which on several processes join videos: for fewer, starting them takes longer.
_MANY_FRAMES = 20_000
VIDEOS, PHOTOS, TABLE, ERRORS = "videos", "photos", "table", "errors.jsonl"


@dataclass
class Merged:
    """What is in the outputs.

    Attributes:
        whole: Videos that were read to their end.
        incomplete: Videos of which frames are missing.
        failed: Videos without any.
        photos: Photos that were read.
        bad_photos: Photos that were not.
        frames: Photos and frames.
        people: People in them.
        open: Items that nobody has done yet.
        again: Whether items must be done again, as a video cannot be cut or a part was damaged.
        errors: A row for each file that failed or is incomplete.
        table: The table of all; None as long as items are open.
    """

    whole: int = 0
    incomplete: int = 0
    failed: int = 0
    photos: int = 0
    bad_photos: int = 0
    frames: int = 0
    people: int = 0
    open: int = 0
    again: bool = False
    errors: List[Dict[str, Any]] = field(default_factory=list)
    table: Union[Path, str, None] = None

    def fail(self, file: str, reason: str) -> None:
        """Add a row for a file."""
        self.errors.append({"file": printable(file), "error": printable(reason)})


class Outputs:
    """Writes the tables of a batch.

    Args:
        plan: All items.
        sink: Their parts and records.
        options: Tracking and format.
        meta: The skeleton.
    """

    def __init__(self, plan: Plan, sink: Sink, options: BatchOptions, meta: KeypointMeta):
        self.plan, self.sink, self.options, self.meta = plan, sink, options, meta
        self.suffix, self._files = f".{options.format}", sink.files
        self._seen: Any = None

    def write(self) -> Merged:
        """Write what is not written yet of all that can be, one process at a time; return what there is.

        Files depend on the parts alone, not on who made them, when, or in which order.

        Raises:
            PermissionError, WriteError, StorageError: A file cannot be written.
            ValueError: The format needs a package that is not installed.
        """
        with self._files.merging():
            merged, files, self._seen = Merged(), [], self.sink.seen()
            if self._join_side_by_side():
                self._seen = self.sink.seen()
            made = self._photos(merged)
            files += [] if made is None else [made]
            for video in self.plan.videos:
                made = self._video(video, merged)
                files += [] if made is None else [made]
            if not merged.open and not merged.again:
                self._table(files)
                merged.table = self._files.where(f"{TABLE}{self.suffix}")
                lines = "".join(json.dumps(row) + "\n" for row in merged.errors)
                self._files.write(ERRORS, lines.encode("utf-8"))
            return merged

    def _join_side_by_side(self) -> bool:
        """Write the tables of videos by as many processes as there are cores, if it is worth it; return whether it was.

        What such a process leaves undone, for whatever reason, is done again by this one, which has the error.
        """
        videos, frames = [], 0
        for video in self.plan.videos:
            whole = self._whole(video)
            path = f"{VIDEOS}/{video.name}{self.suffix}"
            if whole and not self._is_made(path, video.key, self._digest_of_video(video, whole)):
                videos.append(video)
                frames += sum(record.frames for record in whole)
        count = min(len(videos), available_cores())
        if count < 2 or frames < _MANY_FRAMES:
            return False
        each = [Outputs(Plan((), (video,)), self.sink, self.options, self.meta) for video in videos]
        spawn = multiprocessing.get_context("spawn")
        with contextlib.suppress(BrokenProcessPool), ProcessPoolExecutor(
            count, spawn, initializer=_leave_interrupts
        ) as pool:
            list(pool.map(_join_one, each))
        return True

    def _whole(self, video: VideoPlan) -> List[Record]:
        """Return the records of a video's items if each has a part, else none."""
        records = [self.sink.record(item, self._seen) for item in video.items]
        whole = [record for record in records if record is not None and record.error is None]
        return whole if len(whole) == len(records) else []

    def _digest_of_video(self, video: VideoPlan, records: Sequence[Record]) -> str:
        return self._digest(records, [_shown(video.file)], self.options.tracker)

    def _video(self, video: VideoPlan, merged: Merged) -> Optional[Tuple[str, str]]:
        """Write the table of a video if all pieces are there; return its name with the digest of its content."""
        records = [self.sink.record(item, self._seen) for item in video.items]
        errors = [record.error for record in records if record is not None and record.error is not None]
        file = _shown(video.file)
        path = f"{VIDEOS}/{video.name}{self.suffix}"
        if errors:
            merged.failed += 1
            merged.fail(file, errors[0])
            self._remove(path, video.key)
            return None
        whole = [record for record in records if record is not None]
        if len(whole) < len(records):
            merged.open += len(records) - len(whole)
            return None
        digest = self._digest_of_video(video, whole)
        if not self._is_made(path, video.key, digest):
            parts = _Parts(self.sink, video.items, whole)
            self._write_rows(path, join_video(file, parts, self.meta, self.options.tracker), parts)
            if parts.bad is not None:
                merged.again = True
                return None
            self._note(path, video.key, digest)
        merged.frames += sum(record.frames for record in whole)
        merged.people += sum(record.people for record in whole)
        notes = [record.note for record in whole if record.note]
        merged.whole += not notes
        merged.incomplete += bool(notes)
        for note in notes:
            merged.fail(file, note)
        return path, digest

    def _photos(self, merged: Merged) -> Optional[Tuple[str, str]]:
        """Write the table of the photos likewise."""
        items, path = self.plan.photos, f"{PHOTOS}{self.suffix}"
        if not items:
            return None
        records = [self.sink.record(item, self._seen) for item in items]
        merged.open += records.count(None)
        whole = [record for record in records if record is not None]
        for item, record in zip(items, records):
            self._count_photos(item, record, merged)
        if len(whole) < len(records):
            return None
        digest = self._digest(whole, [name for item in items for name in item.files])
        if not self._is_made(path, PHOTOS, digest):
            parts = _Parts(self.sink, items, whole)
            self._write_rows(path, join_photos(items, parts, self.meta), parts)
            if parts.bad is not None:
                merged.again = True
                return None
            self._note(path, PHOTOS, digest)
        return path, digest

    @staticmethod
    def _count_photos(item: WorkItem, record: Optional[Record], merged: Merged) -> None:
        if record is None:
            return
        merged.photos += record.frames
        merged.frames += record.frames
        merged.people += record.people
        if record.error is not None:
            reason = record.error
            merged.bad_photos += len(item.files)
            for file in item.files:
                merged.fail(_shown(file), reason)
        for place, reason in record.errors:
            merged.bad_photos += 1
            merged.fail(_shown(item.files[place]), reason)

    def _table(self, files: Sequence[Tuple[str, str]]) -> None:
        path = f"{TABLE}{self.suffix}"
        digest = _hash([digest for _, digest in files])
        if self._is_made(path, TABLE, digest):
            return
        parts = (self._files.fetch(file) for file, _ in files)
        if self.options.format == "parquet":
            _join_parquet(self._files.draft(path), parts)
        else:
            with written_beside(self._files.draft(path)) as partial, partial.open("wb") as target:
                for part in parts:
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, target)
        self._note(path, TABLE, digest)

    def _write_rows(self, path: str, rows: Iterable[Results], parts: _Parts) -> None:
        """Write a table; none if a part is bad."""
        draft = self._files.draft(path)
        writer = WRITERS[self.options.format](draft.parent, draft.name[: -len(self.suffix)])
        try:
            for results in rows:
                writer.add(results, "")
            if parts.bad is None:
                writer.close()
        except _BadPartError:
            pass
        finally:
            writer.abort()

    def _digest(self, records: Sequence[Record], files: Sequence[str], tracker: Any = None) -> str:
        return _hash([__version__, self.options.format, tracker, list(files), [r.sha256 for r in records]])

    def _note(self, path: str, key: str, digest: str) -> None:
        size = self._files.draft(path).stat().st_size
        self._files.publish(path)
        self.sink.write_note(f"{key}.made", {"digest": digest, "bytes": size})
        for other in FORMATS:  # of a run in another format: it may be out of date
            stale = path[: -len(self.suffix)] + f".{other}"
            if stale != path:
                self._files.remove(stale)

    def _is_made(self, path: str, key: str, digest: str) -> bool:
        content = self.sink.read_note(f"{key}.made", self._seen)
        if content is None or content.get("digest") != digest:
            return False
        return bool(content == {"digest": digest, "bytes": self._files.size(path)})

    def _remove(self, path: str, key: str) -> None:
        self._files.remove(path)
        self.sink.remove_note(f"{key}.made")


def _join_one(outputs: Outputs) -> None:
    """Write the table of the one video of a plan. The process of ``_join_side_by_side``."""
    with contextlib.suppress(Exception), outputs._files.drafting():
        outputs._video(outputs.plan.videos[0], Merged())


def _leave_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C: the parent decides


class _BadPartError(Exception):
    """A part that must be made again ends the writing of a table."""


class _Parts:
    """The parts of some items, one in memory at a time.

    Attributes:
        bad: The item whose part is damaged, or does not fit the one before it; its record is gone, or its video marked.
    """

    def __init__(self, sink: Sink, items: Sequence[WorkItem], records: Sequence[Record]):
        self._sink, self._items, self._records = sink, items, records
        self.bad: Optional[WorkItem] = None

    def __iter__(self) -> Iterator[Any]:
        tail = ""
        pairs = [pair for pair in zip(self._items, self._records) if pair[1].error is None]
        parts = self._sink.parts(*zip(*pairs)) if pairs else iter(())
        for item, record in zip(self._items, self._records):
            if record.error is not None:
                yield None
                continue
            part = next(parts)
            if part is not None and part.head != tail:
                self._sink.mark_whole(item, "pieces differ where they meet")
                part = None
            if part is None:
                self.bad = item
                raise _BadPartError
            tail = part.tail
            yield part


def _join_parquet(path: Path, files: Iterable[Path]) -> None:
    import pyarrow
    import pyarrow.parquet

    from ehrpose.results.writers import parquet_schema

    with written_beside(path) as partial, pyarrow.parquet.ParquetWriter(
        str(partial), parquet_schema()
    ) as target:
        for file in files:
            with pyarrow.parquet.ParquetFile(str(file)) as source:
                for group in range(source.num_row_groups):
                    target.write_table(source.read_row_group(group))


def _shown(file: str) -> str:
    """Return how tables call a file."""
    return file if is_address(file) else str(Path(file))


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode("utf-8")).hexdigest()
