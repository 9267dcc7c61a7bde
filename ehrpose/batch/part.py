"""A part: the people of one item as arrays, exactly as they were found."""

from __future__ import annotations

import io
import zipfile
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from ehrpose.structures import People

_FORMAT = 1


class FramePeople(NamedTuple):
    """A photo or frame.

    Attributes:
        people: Who was found, px.
        size_wh: Width and height, px; (0, 0) for a photo that could not be read.
        seconds: Time on the video's clock; None for photos, and frames without one.
    """

    people: People
    size_wh: Tuple[int, int]
    seconds: Optional[float]


class Part(NamedTuple):
    """The photos or frames of an item.

    Attributes:
        frames: In order.
        fps: Mean rate of the video; None for photos.
        head: See ``PieceReader``; likewise ``tail``.
    """

    frames: List[FramePeople]
    fps: Optional[float] = None
    head: str = ""
    tail: str = ""

    def to_bytes(self) -> bytes:
        """Return the part as a file of NumPy (.npz); the same part gives the same bytes."""
        people = [frame.people for frame in self.frames]
        arrays: Dict[str, Any] = {
            "format": np.int64(_FORMAT),
            "counts": np.array([len(found) for found in people], np.int64),
            "sizes": np.array([frame.size_wh for frame in self.frames], np.int64).reshape(-1, 2),
            "seconds": np.array([_number(frame.seconds) for frame in self.frames], np.float64),
            "fps": np.float64(_number(self.fps)),
            "seam": np.array([self.head, self.tail]),
        }
        for name in ("keypoints", "keypoint_scores", "scores"):
            # Empty arrays are left out: only their number of keypoints would matter, which may be a stand-in.
            found = [getattr(one, name) for one in people if len(one)] or [
                getattr(one, name) for one in people[:1]
            ]
            if found:
                arrays[name] = np.concatenate(found)
        filled = [one.filled for one in people if len(one)]
        if filled and all(mask is not None for mask in filled):
            arrays["filled"] = np.concatenate([mask for mask in filled if mask is not None])
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Part:
        """Return the part that ``to_bytes`` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            if int(arrays["format"]) != _FORMAT:
                raise ValueError(f"format {int(arrays['format'])}, expected {_FORMAT}")
            head, tail = map(str, arrays["seam"])
            fps = _or_none(arrays["fps"])
            return cls(list(_frames(arrays)), fps, head, tail)
        except (KeyError, ValueError, OSError, EOFError, IndexError, zipfile.BadZipFile) as error:
            raise ValueError(f"not a part: {error}") from error


def _frames(arrays: Dict[str, np.ndarray]) -> Iterator[FramePeople]:
    ends = np.cumsum(arrays["counts"])
    filled = arrays.get("filled")
    for end, count, size, seconds in zip(ends, arrays["counts"], arrays["sizes"], arrays["seconds"]):
        rows = slice(int(end - count), int(end))
        people = People(
            arrays["keypoints"][rows], arrays["keypoint_scores"][rows], arrays["scores"][rows], None,
            None if filled is None else filled[rows],
        )  # fmt: skip
        yield FramePeople(people, (int(size[0]), int(size[1])), _or_none(seconds))


def _number(value: Optional[float]) -> float:
    return float("nan") if value is None else value


def _or_none(value: Any) -> Optional[float]:
    return None if np.isnan(value) else float(value)
