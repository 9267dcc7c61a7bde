"""The items that a batch consists of: some photos, or a piece of a video."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional, Sequence, Tuple

from ehrpose.batch.storage import MISSING, place_of
from ehrpose.media.facts import Facts
from ehrpose.media.pieces import WHOLE, Piece

PHOTOS, VIDEO = "photos", "video"


@dataclass(frozen=True)
class WorkItem:
    """What one process does at a time; it holds plain values only, so it can be sent and compared.

    Attributes:
        key: Name for its files, unique within a folder.
        kind: ``"photos"`` or ``"video"``.
        files: Names of the photos, or of the one video.
        state: Sizes and times of change of the files, as text: with another state it is another item.
        place: Index of the item in the whole plan, before any video is taken as a whole.
        weight: Number of photos or frames, about.
        piece: What of the video to read.
        facts: Facts of the video; None: they are read with it.
    """

    key: str
    kind: str
    files: Tuple[str, ...]
    state: str
    place: int = 0
    weight: int = 1
    piece: Piece = WHOLE
    facts: Optional[Facts] = None

    @property
    def video_key(self) -> str:
        """The key of its video."""
        return self.key.rsplit("-", 1)[0]


@dataclass(frozen=True)
class VideoPlan:
    """A video and its items.

    Attributes:
        key: Unique name within the folder.
        file: The video, as the user named it.
        name: Name of its output, without suffix.
        items: Its pieces in order, or the whole.
    """

    key: str
    file: str
    name: str
    items: Tuple[WorkItem, ...]

    def as_whole(self) -> VideoPlan:
        """Return the plan to read the video in one go."""
        first = self.items[0]
        weight = sum(item.weight for item in self.items)
        item = WorkItem(f"{self.key}-whole", VIDEO, first.files, first.state, first.place, weight)
        return VideoPlan(self.key, self.file, self.name, (item,))


@dataclass(frozen=True)
class Plan:
    """All items of a batch.

    Attributes:
        photos: Items of photos, in order.
        videos: The videos, in order.
    """

    photos: Tuple[WorkItem, ...]
    videos: Tuple[VideoPlan, ...]

    @property
    def items(self) -> List[WorkItem]:
        return [*self.photos, *(item for video in self.videos for item in video.items)]

    def of_shard(self, number: int, count: int) -> List[WorkItem]:
        """Return the items of one of ``count`` shards, counted from 1; a video's pieces spread over all."""
        return [item for item in self.items if item.place % count == number - 1]


def photo_items(
    photos: Sequence[str], length: int, states: Optional[Mapping[str, str]] = None
) -> Tuple[WorkItem, ...]:
    """Return photos as items of ``length`` each; ``states`` as for ``state_of``."""
    items: List[WorkItem] = []
    for start in range(0, len(photos), length):
        names = tuple(photos[start : start + length])
        key = f"photos-{_hash(*map(place_of, names))}"
        items.append(WorkItem(key, PHOTOS, names, state_of(names, states), len(items), len(names)))
    return tuple(items)


def video_key(video: str) -> str:
    """Return the key of a video: its name, as far as every file system takes it, and a hash of its place."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", Path(video).stem)[:40].strip("_") or VIDEO
    return f"{stem}-{_hash(place_of(video))}"


def video_names(videos: Sequence[str]) -> List[str]:
    """Return a name for each video's output: its stem if no other has it, else with the hash of its place."""
    stems = [Path(video).stem for video in videos]
    folded = [stem.casefold() for stem in stems]
    alone = {stem for stem in folded if folded.count(stem) == 1}
    return [
        stem if fold in alone else f"{stem}-{_hash(place_of(video))}"
        for stem, fold, video in zip(stems, folded, videos)
    ]


def state_of(files: Sequence[str], states: Optional[Mapping[str, str]] = None) -> str:
    """Return sizes and times of change of files, as text.

    Args:
        files: Their names.
        states: Those of objects in stores, which were found with them.
    """
    parts = []
    for name in files:
        if states and name in states:
            parts.append(states[name])
            continue
        try:
            found = os.stat(name)
            parts.append(f"{found.st_size}:{found.st_mtime_ns}")
        except OSError:
            parts.append(MISSING)
    return parts[0] if len(parts) == 1 else _hash(*parts)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).hexdigest()[:12]
