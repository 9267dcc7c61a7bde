"""Signs of people that a labelling tool merged into one annotation, as Label Studio's COCO export does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ehrpose.counted import counted
from ehrpose.datasets.coco_fields import objects
from ehrpose.datasets.json_values import are_finite

_PEOPLE = ("person", "people", "human", "pedestrian")
# Part of a box's size by which a keypoint may lie outside it.
_TOLERANCE = 0.05


def merged_note(
    content: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]], categories: Collection
) -> str:
    """Return a line about photos that have more boxes of people than people with keypoints, or ``""``.

    A photo counts if it has several boxes of one category without keypoints, fewer people with keypoints, and either
    the boxes are labelled as people, or the keypoints of one person lie in two of them.

    Args:
        content: Content of the COCO file.
        images: Its photos by id.
        categories: Ids of the categories with keypoints.
    """
    titles = {c["id"]: str(c.get("name")).casefold() for c in objects(content, "categories")}
    own = {*_PEOPLE, *(titles[i] for i in categories)}
    people: dict[Any, list] = defaultdict(list)
    boxes: dict[Any, dict[Any, list]] = defaultdict(lambda: defaultdict(list))
    for ann in objects(content, "annotations"):
        values, box = ann.get("keypoints"), ann.get("bbox")
        if ann.get("iscrowd"):
            continue
        if isinstance(values, list) and any(values[2::3]):
            people[ann["image_id"]].append(values)
        elif isinstance(box, list) and len(box) == 4 and are_finite(box):
            boxes[ann["image_id"]][ann.get("category_id")].append(box)
    found = []
    for image_id, persons in people.items():
        for category, rectangles in boxes[image_id].items():
            is_fewer = len(persons) < len(rectangles)
            is_human = titles.get(category) in own and category not in categories
            if is_fewer and image_id in images and (is_human or any(_spans(p, rectangles) for p in persons)):
                found.append(str(images[image_id]["file_name"]))
                break
    if not found:
        return ""
    return (
        f"more boxes without keypoints than people with keypoints in {counted(len(found), 'photo')}, e.g. "
        f"{', '.join(found[:3])}: were several people merged into one, as Label Studio's COCO export does? It fits "
        f"one person per photo; check these photos"
    )


def _spans(values: list, rectangles: list) -> bool:
    """Return whether the labelled keypoints lie in two of the boxes, and in none of them all."""
    if len(values) % 3 or not are_finite(values):
        return False
    labels = np.reshape(np.asarray(values, np.float64), (-1, 3))
    points = labels[labels[:, 2] > 0, :2]
    low, size = np.hsplit(np.asarray(rectangles, np.float64), 2)
    margin = _TOLERANCE * size
    inside = (points >= (low - margin)[:, None]) & (points <= (low + size + margin)[:, None])
    is_in = np.asarray(inside.all(axis=2))
    return bool(not is_in.all(axis=1).any() and (is_in.sum(axis=1) > 0).sum() > 1)
