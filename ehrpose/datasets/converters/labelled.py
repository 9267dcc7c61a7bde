"""Photos with people as labelling tools give them, before they become a COCO folder."""

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
        crowd: A region with people that nobody labelled one by one.
    """

    keypoints: np.ndarray
    box: Sequence[float] | None = None
    polygons: Sequence[Sequence[float]] = ()
    crowd: bool = False


class LabelledPhoto(NamedTuple):
    """One photo.

    Attributes:
        path: Where the photo lies.
        name: Its path in the new folder, with ``/`` between parts.
        size: (width, height) in px that the labels are for, or None where the tool does not say.
        people: The people on it.
        source: The file with the labels, for messages.
        content: The bytes of the photo where the labels hold it and ``path`` does not exist.
    """

    path: Path
    name: str
    size: tuple[int, int] | None
    people: list[LabelledPerson]
    source: str
    content: bytes | None = None


def empty_keypoints(num_keypoints: int) -> np.ndarray:
    """Return (K, 3) zeros: nothing labelled."""
    return np.zeros((num_keypoints, 3))
