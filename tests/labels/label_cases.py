"""Labelled photos for the tests of the label formats."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels import LabelSet

WIDTH, HEIGHT = 64, 48


def write_photo(path: Path, width: int = WIDTH, height: int = HEIGHT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return path


def write_turned_photo(path: Path) -> Path:
    """Write a photo of 40 x 20 px that EXIF turns to 20 x 40."""
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20), "gray").save(path, exif=exif)
    return path


def label_set(folder: Path, keypoints: dict, people: list[LabelledPerson], **splits: list) -> LabelSet:
    """One photo with these people, or splits of lists of people."""
    parts = splits or {"train": people}
    found = {}
    for split, own in parts.items():
        path = write_photo(folder / f"{split}.png")
        found[split] = [LabelledPhoto(path, path.name, (WIDTH, HEIGHT), list(own), str(path))]
    return LabelSet(KeypointMeta.build(keypoints), found)


def person(points: list[tuple], **values) -> LabelledPerson:
    return LabelledPerson(np.array(points, np.float64).reshape(-1, 3), **values)


def shown_people(labels: LabelSet) -> list[tuple]:
    """Return photo, crowd, keypoints, box and outlines of everyone, rounded as the formats are."""
    rows = []
    for photos in labels.splits.values():
        for photo in photos:
            for one in photo.people:
                seen = np.where(one.keypoints[:, 2:] > 0, one.keypoints, 0)
                box = None if one.box is None else tuple(np.round(np.asarray(one.box, float), 2).tolist())
                outlines = [np.round(np.asarray(p, float), 2).tolist() for p in one.polygons]
                rows.append((photo.name, one.crowd, np.round(seen, 2).tolist(), box, outlines))
    return rows


def write_json(path: Path, content) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path
