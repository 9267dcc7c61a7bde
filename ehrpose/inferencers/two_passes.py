"""Offline smoothing of a recorded video: one pass finds the people, a second one draws and writes them (no torch)."""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, Tuple

from ehrpose.media.inputs import Frame, InputSource
from ehrpose.structures import People
from ehrpose.tracking.offline import OfflineSmoother

#: Returns the people of frames and their track ids.
Find = Callable[[List[Frame]], List[Tuple[People, Any]]]


def smoothed_find(
    find: Find, source: InputSource, read: Callable[[InputSource], Iterator[List[Frame]]]
) -> Find:
    """Find and smooth the people of a whole video; return what finds them again, in the order of the frames.

    The pictures are not kept: a minute of a video with five people takes about 2 MB.

    Args:
        find: Finds and tracks the people of each frame.
        source: The video; it is opened once more for this.
        read: Reads the frames of a source in batches, those that cannot be read without an image.

    Raises:
        ValueError: The source is a camera, or two frames have one time.
    """
    times: List[float] = []
    found: List[Tuple[People, Any]] = []
    with source.again() as first:
        for batch in read(first):
            frames = [frame for frame in batch if frame.image is not None]
            times += [frame.timestamp or 0.0 for frame in frames]
            found += find(frames)
    people, ids = OfflineSmoother().smooth_video(
        times, [pair[0] for pair in found], [pair[1] for pair in found]
    )
    rest = iter(list(zip(people, ids)))
    return lambda frames: [next(rest) for _ in frames]
