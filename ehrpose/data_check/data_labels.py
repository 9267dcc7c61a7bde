"""The labels of a data set as arrays over all people, whatever format they were read from.

Axes: M photos, N people of all photos, K keypoint types.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPhoto
from ehrpose.keypoint_meta import KeypointMeta


class PhotoEntry(NamedTuple):
    """A photo of a split.

    Attributes:
        split: Name of the split, such as ``"train"``.
        name: Its name in the label file.
        path: Where it should be.
        size: (width, height) by the label file, px; None: it does not say.
    """

    split: str
    name: str
    path: Path
    size: Optional[Tuple[int, int]]


class DataLabels(NamedTuple):
    """All labels of a data set.

    Attributes:
        meta: The skeleton.
        photos: M photos.
        photo: (N,) index of each person's photo.
        ids: N ids of people, as the label file has them.
        keypoints: (N, K, 3) float64 x, y, px, and visibility 0 to 2.
        boxes: (N, 4) float64 x, y, width, height, px; NaN for people without a box.
        stored: (N,) number of keypoints that the label file states, -1 if it does not.
        crowd: (N,) bool, True for regions of people who are not labelled individually.
    """

    meta: KeypointMeta
    photos: List[PhotoEntry]
    photo: np.ndarray
    ids: List[Any]
    keypoints: np.ndarray
    boxes: np.ndarray
    stored: np.ndarray
    crowd: np.ndarray

    @classmethod
    def build(
        cls,
        splits: Mapping[str, Sequence[LabelledPhoto]],
        meta: KeypointMeta,
        ids: Optional[Mapping[str, Sequence[Sequence[Any]]]] = None,
        stored: Optional[Mapping[str, Sequence[Sequence[int]]]] = None,
    ) -> DataLabels:
        """Return the labels of photos as converters and readers give them.

        Args:
            splits: Photos by split.
            meta: The skeleton.
            ids: By split and photo, the ids of its people; None: their places in the photo, from 0.
            stored: Likewise, the stated numbers of keypoints, -1 if not stated; None: not stated.
        """
        photos: List[PhotoEntry] = []
        rows: Dict[str, List[Any]] = {
            "photo": [],
            "ids": [],
            "keypoints": [],
            "boxes": [],
            "stored": [],
            "crowd": [],
        }
        for split, entries in splits.items():
            for place, entry in enumerate(entries):
                for number, person in enumerate(entry.people):
                    rows["photo"].append(len(photos))
                    rows["ids"].append(ids[split][place][number] if ids else number)
                    rows["keypoints"].append(person.keypoints)
                    rows["boxes"].append([np.nan] * 4 if person.box is None else person.box)
                    rows["stored"].append(stored[split][place][number] if stored else -1)
                    rows["crowd"].append(person.crowd)
                photos.append(PhotoEntry(split, entry.name, entry.path, entry.size))
        return cls(
            meta,
            photos,
            np.array(rows["photo"], np.int64),
            rows["ids"],
            np.array(rows["keypoints"], np.float64).reshape(-1, meta.num_keypoints, 3),
            np.array(rows["boxes"], np.float64).reshape(-1, 4),
            np.array(rows["stored"], np.int64),
            np.array(rows["crowd"], bool),
        )

    @property
    def labelled(self) -> np.ndarray:
        """(N, K) bool, True where a keypoint of a person, not of a crowd, is labelled."""
        return np.asarray((self.keypoints[..., 2] > 0) & ~self.crowd[:, None])

    def sizes(self) -> np.ndarray:
        """Return the (N, 2) width and height of each person's photo, px; NaN if the label file does not say."""
        each = [entry.size or (np.nan, np.nan) for entry in self.photos]
        return np.array(each, np.float64).reshape(-1, 2)[self.photo]

    def frames(self) -> np.ndarray:
        """Return (N, 4) boxes x, y, width, height, px: the person's, or the one around its keypoints; sides from 1."""
        boxes = self.boxes.copy()
        bare = ~np.isfinite(boxes).all(axis=1)
        points = np.where(self.labelled[..., None], self.keypoints[..., :2], np.nan)[bare]
        some = np.isfinite(points).any(axis=(1, 2))
        made = np.zeros((len(points), 4))
        if some.any():
            low, high = np.nanmin(points[some], axis=1), np.nanmax(points[some], axis=1)
            made[some] = np.concatenate([low, high - low], axis=1)
        boxes[bare] = made
        boxes[:, 2:] = np.maximum(boxes[:, 2:], 1.0)
        return boxes
