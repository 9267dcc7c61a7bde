"""Photos and people as read from labelling tools, before they are written as a COCO folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np


class LabelledPerson(NamedTuple):
    """One person.

    Attributes:
        keypoints: (K, 3) float64 x, y in px and visibility, 0 (not labelled), 1 (hidden) or 2 (visible).
        box: x, y, width, height in px, or None.
        polygons: Outlines, each x0, y0, x1, y1, ... in px.
        crowd: A region with people who are not labelled individually.
    """

    keypoints: np.ndarray
    box: Sequence[float] | None = None
    polygons: Sequence[Sequence[float]] = ()
    crowd: bool = False


class LabelledPhoto(NamedTuple):
    """One photo.

    Attributes:
        path: Path of the photo.
        name: Its path in the new folder, with ``/`` between parts.
        size: (width, height) in px that the labels refer to, or None if the file does not say.
        people: The people in it.
        source: The file with the labels, for messages.
        content: Bytes of the photo if the label file contains it and ``path`` does not exist.
    """

    path: Path
    name: str
    size: tuple[int, int] | None
    people: list[LabelledPerson]
    source: str
    content: bytes | None = None


def empty_keypoints(num_keypoints: int) -> np.ndarray:
    """Return (K, 3) zeros: no keypoint labelled."""
    return np.zeros((num_keypoints, 3))
