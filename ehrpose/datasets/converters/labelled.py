"""Photos and people as read from labelling tools, before they are written as a COCO folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class LabelledPerson(NamedTuple):
    """One person.

    Attributes:
        keypoints: (K, 3) float64 x, y in px and visibility, 0 (not labelled), 1 (hidden) or 2 (visible).
        box: x, y, width, height in px, or None.
        polygons: Outlines, each x0, y0, x1, y1, ... in px.
        crowd: A region with people who are not labelled individually.
        area: Area as stored in the file, px^2; None: that of the polygons, or a fraction of the box.
        mask: Outline as a run-length mask in COCO's form, or None.
        id: The file's id of the person, or None.
        track_id: The file's id of the person over several photos, or None.
        score: How sure a model was of the person, or None.
        keypoint_scores: (K,) float64, how sure a model was of each keypoint, or None.
    """

    keypoints: np.ndarray
    box: Sequence[float] | None = None
    polygons: Sequence[Sequence[float]] = ()
    crowd: bool = False
    area: float | None = None
    mask: Mapping[str, Any] | None = None
    id: Any = None
    track_id: Any = None
    score: float | None = None
    keypoint_scores: np.ndarray | None = None


class LabelledPhoto(NamedTuple):
    """One photo.

    Attributes:
        path: Path of the photo.
        name: Its path in the new folder, with ``/`` between parts.
        size: (width, height) in px that the labels refer to, or None if the file does not say.
        people: The people in it.
        source: The file with the labels, for messages.
        content: Bytes of the photo if the label file contains it and ``path`` does not exist.
        id: The file's id of the photo, or None.
        crowd_index: CrowdPose's crowdIndex, 0 to 1, or None.
    """

    path: Path
    name: str
    size: tuple[int, int] | None
    people: list[LabelledPerson]
    source: str
    content: bytes | None = None
    id: Any = None
    crowd_index: float | None = None


def empty_keypoints(num_keypoints: int) -> np.ndarray:
    """Return (K, 3) zeros: no keypoint labelled."""
    return np.zeros((num_keypoints, 3))


def upright_box(box: Sequence[float], degrees: float) -> list[float]:
    """Return x, y, width, height of the upright box around one that is rotated about its centre.

    Raises:
        ValueError: The angle is not finite.
    """
    if not np.isfinite(degrees):
        raise ValueError(f"expected an angle in degrees, got {degrees}")
    x, y, width, height = box
    if degrees == 0:
        return [x, y, width, height]
    cos, sin = abs(np.cos(np.radians(degrees))), abs(np.sin(np.radians(degrees)))
    w, h = float(width * cos + height * sin), float(width * sin + height * cos)
    return [x + (width - w) / 2, y + (height - h) / 2, w, h]


def check_unique(photos: Sequence[LabelledPhoto]) -> None:
    """Raise an error if a photo is there twice: each entry may have only some of its people.

    Raises:
        ValueError: Two photos have one name, or are one file.
    """
    sources: dict[str, str] = {}
    files: dict[Path, str] = {}
    for photo in photos:
        if photo.name in sources:
            raise ValueError(
                f"{photo.source} and {sources[photo.name]} are both for the photo {photo.name}; merge or rename them"
            )
        sources[photo.name] = photo.source
        path = photo.path.resolve()
        if photo.content is None and path in files:
            raise ValueError(
                f"{photo.source} and {files[path]} are both for the file {photo.path}; merge the two entries"
            )
        files[path] = photo.source
