"""From parts to tables: a video's pieces are joined, tracked and smoothed in order, as if it had never been cut."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Mapping, Optional, Sequence, Tuple

from ehrpose.batch.items import WorkItem
from ehrpose.batch.part import Part
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.media.clock import FrameClock
from ehrpose.results.results import Results, as_ids
from ehrpose.structures import People
from ehrpose.tracking.offline import OfflineSmoother
from ehrpose.tracking.open_tracker import Tracker, open_tracker

# Width and height, px; time, seconds; people; their ids, None without a tracker.
_Row = Tuple[Tuple[int, int], float, People, Any]


def join_video(
    file: str, parts: Iterable[Part], meta: KeypointMeta, tracker: Any = None
) -> Iterator[Results]:
    """Yield the frames of a video, numbered and timed from its first one on.

    Args:
        file: Name of the video.
        parts: All of its pieces, in order.
        meta: The skeleton.
        tracker: As for the inferencer.
    """
    for number, (size_wh, time, people, ids) in enumerate(_tracked(parts, meta, tracker)):
        yield Results(people, meta, size_wh, file, number, time, as_ids(ids))


def _tracked(parts: Iterable[Part], meta: KeypointMeta, tracker: Any) -> Iterator[_Row]:
    if not (isinstance(tracker, Mapping) and tracker.get("smoothing") == "offline"):
        yield from _followed(parts, meta, tracker)
        return
    rows = list(_followed(parts, meta, {**tracker, "smoothing": None}))
    sizes, times, found, ids = (list(column) for column in zip(*rows))
    yield from zip(sizes, times, *OfflineSmoother().smooth_video(times, found, ids))


def _followed(parts: Iterable[Part], meta: KeypointMeta, tracker: Any) -> Iterator[_Row]:
    clock: Optional[FrameClock] = None
    follower: Optional[Tracker] = None
    for part in parts:
        for frame in part.frames:
            if clock is None:
                assert part.fps is not None
                clock = FrameClock(part.fps)
                clock.start = frame.seconds or 0.0
                follower = open_tracker(tracker, meta, part.fps)
            time, people, ids = clock.step(frame.seconds), frame.people, None
            if follower is not None:
                people, ids = follower.update(people, time)
            yield frame.size_wh, time, people, ids


def join_photos(
    items: Sequence[WorkItem], parts: Iterable[Optional[Part]], meta: KeypointMeta
) -> Iterator[Results]:
    """Yield the photos that could be read, each with its index in the whole batch.

    Args:
        items: All items of photos, in order.
        parts: The part of each; None for an item without one.
        meta: The skeleton.
    """
    index = 0
    for item, part in zip(items, parts):
        for place, file in enumerate(item.files):
            frame = None if part is None else part.frames[place]
            if frame is not None and frame.size_wh != (0, 0):
                yield Results(frame.people, meta, frame.size_wh, file, index)
            index += 1


def same_seams(parts: Sequence[Part]) -> bool:
    """Whether neighbouring pieces saw the same frames where they meet."""
    return all(before.tail == after.head for before, after in zip(parts, parts[1:]))
