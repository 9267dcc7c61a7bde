"""Pieces of a video, whose frames equal those of the whole video in order.

A piece is entered at a keyframe before it, as the index of the packets has it. Some files promise more than they keep:
a keyframe after which pictures are still incomplete (gradual refresh), a search that ends elsewhere, a damaged packet
whose effect lasts. So neighbours decode the same few frames at their seam, and ``head`` and ``tail`` tell whether they
saw the same there.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Optional, Tuple

import numpy as np

from ehrpose.media.facts import Facts, PacketIndex
from ehrpose.media.video import VideoError, VideoReader

# Frames that neighbours compare.
_SEAM = 2
# Keyframes before a piece that are tried in turn.
_KEYS = 4


class PieceError(ValueError):
    """A video that cannot be read in pieces; read it as a whole."""


@dataclass(frozen=True)
class Piece:
    """Frames of a video; times are ticks of the file's clock.

    Attributes:
        first: Time of its first frame; None: from the start of the video.
        end: Time of the first frame after it; None: to the end of the video.
        keys: Times of the last keyframes at or before ``first``, ascending.
    """

    first: Optional[int] = None
    end: Optional[int] = None
    keys: Tuple[int, ...] = ()


WHOLE = Piece()


def cut(index: PacketIndex, length: int, multiple: int = 1) -> list[tuple[int, Piece]]:
    """Cut a video into pieces, at keyframes where there are some.

    Args:
        index: The video's frames and keyframes.
        length: Frames of a piece, about: from half to one and a half times as many.
        multiple: Each piece begins at a multiple of this number of frames.

    Returns:
        Index of the first frame and Piece, in order; a single whole one for a short video.
    """
    times, starts = index.times, [0]
    length = max(length, 2 * multiple, 2 * _SEAM)
    while len(times) - starts[-1] > 1.5 * length:
        aim = starts[-1] + length
        place = bisect_right(index.keys, times[aim]) - 1
        key = bisect_right(times, index.keys[place]) - 1 if place >= 0 else 0
        at = key if key > starts[-1] + length // 2 else aim
        starts.append(-(-at // multiple) * multiple)
    pieces = []
    for number, start in enumerate(starts):
        first = times[start] if number else None
        end = times[starts[number + 1]] if number + 1 < len(starts) else None
        before = index.keys[: bisect_right(index.keys, times[start])][-_KEYS:] if number else ()
        pieces.append((start, Piece(first, end, before)))
    return pieces


class PieceReader(VideoReader):
    """The frames of a piece; iterate it once.

    Args:
        source: File name.
        piece: What to read; WHOLE for the whole video.
        facts: As for VideoReader.

    Attributes:
        head: Hash of the first frames of the piece, complete once it is read; empty at the video's start.
        tail: The same of the first frames after it; empty at the video's end.
        is_damaged: Whether a packet or frame of the piece was damaged, once it is read.

    Raises:
        FileNotFoundError, VideoError: As for VideoReader.
    """

    def __init__(self, source: str | Path, piece: Piece = WHOLE, facts: Facts | None = None):
        super().__init__(source, facts=facts)
        self.piece, self.head, self.tail, self.is_damaged = piece, "", "", False

    def __iter__(self) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield each frame, (H, W, 3) uint8 BGR, with its time on the file's clock in seconds; None: it has none.

        Raises:
            VideoError: There are no frames.
            PieceError: The piece cannot be found or read; frames that were yielded do not count.
        """
        if self.piece == WHOLE:
            for image in self._images:
                seconds = self._seconds(image)
                self._clock.step(seconds)
                self.is_damaged = self.is_damaged or image.is_corrupt
                yield self._picture(image), seconds
            if self.num_read == 0:
                raise VideoError(
                    f"{self.path} has no readable frames: it is broken or in an unsupported format"
                )
            return
        yield from self._piece(self.piece.first, self.piece.end)

    def _piece(self, first: Optional[int], end: Optional[int]) -> Iterator[tuple[np.ndarray, Any]]:
        head, tail, num_tail, last = hashlib.sha256(), hashlib.sha256(), 0, None
        lost = self._num_lost
        for image in self._images if first is None else self._enter(first):
            now = image.pts
            if now is None or (last is not None and now <= last):
                raise PieceError(f"{self.path}: a frame has no time of its own")
            last = now
            if first is not None and now < first:
                lost = self._num_lost  # what the piece before has to tell
                continue
            self.is_damaged = self.is_damaged or image.is_corrupt or self._num_lost > lost
            if num_tail or (end is not None and now >= end):
                tail.update(self._picture(image).tobytes())
                num_tail += 1
                if num_tail == _SEAM:
                    break
                continue
            if self.num_read == 0 and first is not None and now != first:
                raise PieceError(f"{self.path}: expected a frame at {first}, got one at {now}")
            self._clock.step(self._seconds(image))
            picture = self._picture(image)
            if first is not None and self.num_read <= _SEAM:
                head.update(picture.tobytes())
            yield picture, self._seconds(image)
        if self.num_read == 0 or (end is not None and not num_tail):
            raise PieceError(f"{self.path}: the video ends before frame {end or first}")
        self.head = "" if first is None else head.hexdigest()
        self.tail = "" if end is None else tail.hexdigest()

    def _enter(self, first: int) -> Iterator[Any]:
        """Yield frames from a keyframe at or before a time on."""
        import av

        for key in reversed(self.piece.keys):
            try:
                self._open.seek(key, stream=self._stream)
            except av.FFmpegError:
                continue
            packets = self._open.demux(self._stream)
            packet = next((packet for packet in packets if packet.is_keyframe), None)
            if packet is None:
                continue
            images = self._decode(chain([packet], packets))
            image = next(images, None)
            # With gradual refresh, the first whole picture comes later.
            if image is not None and image.pts is not None and image.pts <= first:
                return chain([image], images)
        raise PieceError(f"{self.path}: no keyframe was found before {first}")
