"""Reading and checking annotation files in COCO's keypoint format.

Axes: M people in the whole file, N people in one image, K keypoint types. Boxes become x0, y0, x1, y1; keypoints
are read as pixel-index positions, as COCO stores them.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ehrpose.datasets.coco_fields import (
    clean_annotation,
    complete_annotation,
    name_of,
    objects,
    person_categories,
    read_categories,
    read_id,
    read_images,
    shown,
)
from ehrpose.keypoint_meta import KeypointMeta


class CocoItems(NamedTuple):
    """Contents of an annotation file.

    Attributes:
        items: One dict per image, in file order: img_id, file_name, width, height, keypoints (N, K, 2),
            visible (N, K), bbox (N, 4) xyxy, area (N,), mask_regions, and raw_anns, the complete annotations
            without their segmentations; crowd_index if the file has crowdIndex.
        num_outside: Number of labelled keypoints outside their photo; their ``visible`` is set to 0.
        outside_example: Description of the first of them.
        num_made: Number of people whose missing box or area was made.
    """

    items: list[dict[str, Any]]
    num_outside: int
    outside_example: str
    num_made: int = 0


def read_coco_json(
    path: str | Path,
    meta: KeypointMeta,
    need_annotations: bool = True,
    stored_counts: bool = False,
    keep_outlines: bool = False,
) -> CocoItems:
    """Read an annotation file.

    Annotations of categories without keypoints are left out. Crowds (``iscrowd`` 1) and people without any labelled
    keypoint become mask regions instead of people: their segmentation, or their box if they have none. What is checked
    and completed is stated in ``coco_fields``.

    Args:
        path: The JSON file.
        meta: The expected skeleton.
        need_annotations: False: the file may have no annotations, as COCO's test-dev.
        stored_counts: Keep a stored ``num_keypoints`` that is smaller than the number of labelled keypoints.
        keep_outlines: Also add ``outlines`` to each image: N segmentations, None for a person without one.

    Raises:
        FileNotFoundError: ``path`` does not exist.
        ValueError: The file is not JSON, a field is missing or a value is invalid; the message names the file, the id
            of the annotation or image, and the expected and actual values.
    """
    data = load_json(Path(path))
    for key in ("images", "annotations") if need_annotations else ("images",):
        if not isinstance(data.get(key), list):
            raise ValueError(f"{path}: expected COCO format with a list {key!r}, got the keys {sorted(data)}")
    try:
        images = read_images(objects(data, "images"))
        people = read_people(data, images, meta.names, stored_counts)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    _fill(images, people.annotations, meta, keep_outlines)
    return CocoItems(list(images.values()), people.num_outside, people.outside_example, people.num_made)


def load_json(path: Path) -> Mapping[str, Any]:
    """Return the content of a JSON file.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is not a JSON object.
    """
    if not path.is_file():
        raise FileNotFoundError(f"annotation file not found: {path}; check data_root and ann_file")
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(data, Mapping):
        raise ValueError(
            f"{path}: expected a JSON object with 'images' and 'annotations', got {type(data).__name__}"
        )
    return data


@dataclass
class People:
    """The annotations of people, and what was changed in them.

    Attributes:
        annotations: The annotations, complete, in file order.
        num_outside: Number of labelled keypoints outside their photo; their visibility is set to 0.
        outside_example: Description of the first of them.
        num_made: Number of annotations whose missing box or area was made.
    """

    annotations: list[dict[str, Any]] = field(default_factory=list)
    num_outside: int = 0
    outside_example: str = ""
    num_made: int = 0

    def add(
        self, done: dict[str, Any], clean: Mapping[str, Any], size: tuple[int, int], names: Sequence[str]
    ) -> None:
        """Append a complete annotation, made from a checked one."""
        self.annotations.append(done)
        self.num_made += "bbox" not in clean or "area" not in clean
        if done.get("keypoints") == clean.get("keypoints"):
            return
        for k, name in enumerate(names):
            x, y, visibility = clean["keypoints"][3 * k : 3 * k + 3]
            if visibility != done["keypoints"][3 * k + 2]:
                self.num_outside += not done["iscrowd"]
                self.outside_example = self.outside_example or (
                    f"{name_of(done)} has {name} at {[float(x), float(y)]} in a photo of {list(size)} px"
                )


def read_people(
    data: Mapping[str, Any],
    images: Mapping[Any, Mapping[str, Any]],
    names: Sequence[str],
    stored_counts: bool = False,
    chosen: Container | None = None,
) -> People:
    """Return the annotations of people, complete and checked: the truth of training and of evaluation.

    Args:
        data: Content of the file.
        images: Its photos by id, from ``read_images``.
        names: K keypoint names.
        stored_counts: Keep a stored ``num_keypoints`` that is smaller than the number of labelled keypoints.
        chosen: Ids of the photos whose annotations are returned; None: all.

    Raises:
        ValueError: An annotation is invalid, belongs to no photo or category of the file, or is there twice.
    """
    categories = person_categories(objects(data, "categories"), names)
    people = People()
    is_bare = not any("keypoints" in ann for ann in objects(data, "annotations"))
    for ann in annotations_of(data, images, categories):
        if chosen is not None and ann["image_id"] not in chosen:
            continue
        image = images[ann["image_id"]]
        size = (image["width"], image["height"])
        clean = clean_annotation(ann, names, size)
        if "keypoints" not in ann and not clean["iscrowd"]:
            hint = "; no annotation has keypoints: is this a person_keypoints_*.json file?" if is_bare else ""
            raise ValueError(f"{name_of(ann)} has no 'keypoints'{hint}")
        people.add(complete_annotation(clean, size, stored_counts), clean, size, names)
    return people


def annotations_of(
    data: Mapping[str, Any], images: Container, categories: Container | None
) -> Iterator[Mapping[str, Any]]:
    """Yield the annotations of some categories, as stored.

    Args:
        data: Content of the file.
        images: Ids of its photos.
        categories: Ids of the categories; None: all.

    Raises:
        ValueError: An annotation is no object, belongs to no photo or category of the file, or is there twice.
    """
    known = set(read_categories(objects(data, "categories")))
    seen: dict[Any, Mapping] = {}
    for place, ann in enumerate(objects(data, "annotations")):
        _check_ids(ann, place, known)
        if categories is not None and ann.get("category_id") not in categories:
            continue
        if ann["image_id"] not in images:
            raise ValueError(
                f"{name_of(ann)} belongs to image {shown(ann['image_id'])}, which is not in 'images'"
            )
        first = seen.setdefault(ann["id"], ann)
        if first is not ann and first == ann:
            raise ValueError(f"{name_of(ann)} is in the file twice; remove one of the two")
        yield ann


def _check_ids(ann: Mapping[str, Any], place: int, categories: Container) -> None:
    """Raise an error unless the ids of an annotation are ids, and its category is one of the file's, if it has any."""
    name = name_of(ann, place)
    required = ("id", "image_id", "category_id") if categories else ("id", "image_id")
    missing = [key for key in required if key not in ann]
    if missing:
        raise ValueError(f"{name} has no {', '.join(map(repr, missing))}")
    for key in required:
        read_id(ann[key], f"{name}, {key!r}")
    if categories and ann["category_id"] not in categories:
        raise ValueError(f"{name} has the category {shown(ann['category_id'])}, which is not in 'categories'")


def _numbers(people: Sequence[Mapping], field: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a field of all people as (M, *shape) float64."""
    return np.array([ann[field] for ann in people], np.float64).reshape(len(people), *shape)


def _fill(
    images: dict[Any, dict[str, Any]], anns: Sequence[Mapping], meta: KeypointMeta, keep_outlines: bool
) -> None:
    """Add the people and mask regions to their images."""
    candidates = [ann for ann in anns if not ann["iscrowd"]]
    labels = _numbers(candidates, "keypoints", (meta.num_keypoints, 3))
    keypoints, visible = labels[..., :2].astype(np.float32), labels[..., 2].astype(np.uint8)
    bbox = _numbers(candidates, "bbox", (4,)).astype(np.float32)
    bbox[:, 2:] += bbox[:, :2]
    area = _numbers(candidates, "area", ()).astype(np.float32)

    rows: dict[Any, list[int]] = {image_id: [] for image_id in images}
    for image in images.values():
        image.update(mask_regions=[], raw_anns=[])
    is_person = np.asarray(visible.any(axis=1))
    row = 0
    for ann in anns:
        image = images[ann["image_id"]]
        image["raw_anns"].append({key: value for key, value in ann.items() if key != "segmentation"})
        if not ann["iscrowd"]:
            row += 1
            if is_person[row - 1]:
                rows[ann["image_id"]].append(row - 1)
                continue
        image["mask_regions"].extend(_regions(ann))
    for image_id, image in images.items():
        own = rows[image_id]
        image.update(keypoints=keypoints[own], visible=visible[own], bbox=bbox[own], area=area[own])
        if keep_outlines:
            image["outlines"] = [_outline(candidates[person]) for person in own]


def _outline(ann: Mapping) -> Any:
    """Return the annotation's segmentation, or None if it has none."""
    return _regions(ann)[0] if ann.get("segmentation") else None


def _regions(ann: Mapping) -> list:
    """Return the annotation's segmentation as mask regions, or its box if it has none."""
    if ann.get("segmentation"):
        return [ann["segmentation"]]
    x, y, width, height = ann["bbox"]
    return [[[x, y, x + width, y, x + width, y + height, x, y + height]]] if width > 0 and height > 0 else []
