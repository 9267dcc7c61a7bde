"""How inputs become items.

Where a long video is cut is kept in the folder, as it takes a look at each of the video's packets.
"""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from ehrpose.batch.inputs import Found
from ehrpose.batch.items import (
    VIDEO,
    Plan,
    VideoPlan,
    WorkItem,
    photo_items,
    state_of,
    video_key,
    video_names,
)
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.sink import Sink
from ehrpose.batch.storage import StorageError, VideoCopies, opened
from ehrpose.media.facts import DEFAULT_FPS, Facts, load_av, open_video, read_index
from ehrpose.media.pieces import WHOLE, Piece, cut

# A video is looked at if its header states this many times the length of a piece.
_LONG = 1.4


def make_plan(
    found: Found, sink: Sink, options: BatchOptions, is_stopped: Callable[[], bool] = lambda: False
) -> Plan:
    """Return the items of a batch; the same for the same files and options, whoever asks.

    Args:
        found: Photos and videos.
        sink: Folder that keeps where videos are cut.
        options: Lengths of items.
        is_stopped: Asked for each video; once it is true, the rest is left out.

    Raises:
        PermissionError, WriteError: The folder cannot be written to.
        ValueError: There are videos, and PyAV is not installed.
    """
    length = -(-options.item_photos // options.batch_size) * options.batch_size
    photos = photo_items(found.photos, length, found.states)
    place = len(photos)
    if found.videos:
        load_av()
    videos, seen = [], sink.seen()
    for video, name in zip(found.videos, video_names(found.videos)):
        if is_stopped():
            break
        key, state = video_key(video), state_of([video], found.states)
        pieces, facts = _pieces(video, key, state, options, sink, seen)
        items = []
        for number, (piece, weight) in enumerate(pieces):
            own = f"{key}-{number:04d}"
            items.append(WorkItem(own, VIDEO, (video,), state, place + number, weight, piece, facts))
        place += len(items)
        videos.append(VideoPlan(key, video, name, tuple(items)))
    return with_wholes(Plan(photos, tuple(videos)), sink)


def with_wholes(plan: Plan, sink: Sink) -> Plan:
    """Return a plan in which the videos that were found not to be cut are whole."""
    seen = sink.seen()
    videos = (
        video.as_whole() if len(video.items) > 1 and sink.is_whole(video.items[0], seen) else video
        for video in plan.videos
    )
    return Plan(plan.photos, tuple(videos))


def _pieces(
    video: str, key: str, state: str, options: BatchOptions, sink: Sink, seen: Any
) -> Tuple[List[Tuple[Piece, int]], Optional[Facts]]:
    """Return pieces with their number of frames, and the facts if they are known."""
    wanted = {"state": state, "length": options.piece_frames, "multiple": options.batch_size}
    content = sink.read_note(f"{key}.plan", seen)
    if content is None or not _is_of(content, wanted):
        content = {**wanted, **_look(video, options.piece_frames, options.batch_size)}
        sink.write_note(f"{key}.plan", content, durable=False)
    pieces = [(Piece(first, end, tuple(keys)), frames) for first, end, keys, frames in content["pieces"]] or [
        (WHOLE, content["frames"])
    ]
    facts = None if content["facts"] is None else Facts(**content["facts"])
    return pieces, facts


def _is_of(content: Dict[str, Any], wanted: Dict[str, Any]) -> bool:
    same = all(content.get(name) == value for name, value in wanted.items())
    return same and {"pieces", "facts", "frames"} <= set(content)


def _look(video: str, length: int, multiple: int) -> Dict[str, Any]:
    """Return where to cut a video. One that cannot be opened is whole: the error comes when it is processed."""
    whole: Dict[str, Any] = {"pieces": [], "facts": None, "frames": 1}
    try:
        frames = _stated_frames(video)
        if frames < _LONG * length:
            return {**whole, "frames": max(1, frames)}
        with contextlib.closing(VideoCopies()) as copies, copies.local(video) as path:
            facts, index = read_index(Path(path))
    except StorageError:
        raise
    except (ValueError, OSError):  # PyAV's errors are among these
        return whole
    if index is None:
        return {**whole, "frames": max(1, facts.num_frames)}
    found = cut(index, length, multiple)
    ends = [start for start, _ in found[1:]] + [len(index.times)]
    pieces = [
        [piece.first, piece.end, list(piece.keys), end - start] for (start, piece), end in zip(found, ends)
    ]
    return {
        "pieces": pieces if len(pieces) > 1 else [],
        "facts": asdict(facts),
        "frames": len(index.times),
    }


def _stated_frames(video: str) -> int:
    """Return the number of frames by the header, about; of an object, no more than that is fetched."""
    av = load_av()
    with opened(video) as (source, num_bytes), contextlib.ExitStack() as stack:
        container, stream = open_video(source)
        stack.enter_context(container)
        rate = float(stream.average_rate or stream.guessed_rate or DEFAULT_FPS)
        seconds = (container.duration or 0) / av.time_base
        # A header without a length must not hide a long video.
        return int(stream.frames) or round(seconds * rate) or num_bytes
