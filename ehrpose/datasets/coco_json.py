"""Reading and checking annotation files in COCO's keypoint format.

Axes: M people in the whole file, N people in one image, K keypoint types. Boxes become x0, y0, x1, y1; keypoints
are read as pixel-index positions, as COCO stores them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ehrpose.keypoint_meta import KeypointMeta


class CocoItems(NamedTuple):
    """Contents of an annotation file.

    Attributes:
        items: One dict per image, in file order: img_id, file_name, width, height, keypoints (N, K, 2),
            visible (N, K), bbox (N, 4) xyxy, area (N,), mask_regions, and raw_anns, the annotations as stored but
            without their segmentations; crowd_index if the file has crowdIndex.
        num_outside: Number of labelled keypoints outside their photo; their ``visible`` is set to 0.
        outside_example: Description of the first of them.
    """

    items: list[dict[str, Any]]
    num_outside: int
    outside_example: str


def read_coco_json(
    path: str | Path,
    meta: KeypointMeta,
    need_annotations: bool = True,
    area_of_box: float | None = None,
    keep_outlines: bool = False,
) -> CocoItems:
    """Read an annotation file.

    Annotations of categories without keypoints are left out. Crowds (``iscrowd`` 1) and people without any labelled
    keypoint become mask regions instead of people: their segmentation, or their box if they have none.

    Args:
        path: The JSON file.
        meta: The expected skeleton.
        need_annotations: False: the file may have no annotations, as COCO's test-dev.
        area_of_box: Area of a person without ``area``, as a fraction of the box; None: all people must have one.
        keep_outlines: Also add ``outlines`` to each image: N segmentations, None for a person without one.

    Raises:
        FileNotFoundError: ``path`` does not exist.
        ValueError: The file is not JSON, a field is missing or a value is invalid; the message names the file, the id
            of the annotation or image, and the expected and actual values.
    """
    data = _load(Path(path))
    for key in ("images", "annotations") if need_annotations else ("images",):
        if not isinstance(data.get(key), list):
            raise ValueError(f"{path}: expected COCO format with a list {key!r}, got the keys {sorted(data)}")
    try:
        images = _read_images(data["images"])
        categories = _person_categories(data.get("categories") or [], meta)
        anns = [a for a in data.get("annotations") or [] if categories is None or _category(a) in categories]
        if area_of_box is not None:
            anns = [a if "area" in a else _with_area(a, area_of_box) for a in anns]
        _check_annotations(anns, images, meta)
        return _fill(images, anns, meta, keep_outlines)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _load(path: Path) -> Mapping[str, Any]:
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


def _read_images(entries: Sequence[Mapping]) -> dict[Any, dict[str, Any]]:
    images: dict[Any, dict[str, Any]] = {}
    for place, entry in enumerate(entries):
        missing = [key for key in ("id", "file_name", "width", "height") if key not in entry]
        if missing:
            raise ValueError(
                f"image {entry.get('id', f'number {place}')} has no {', '.join(map(repr, missing))}"
            )
        if entry["id"] in images:
            raise ValueError(f"image id {entry['id']} is used twice")
        size = (entry["width"], entry["height"])
        if not all(isinstance(side, (int, float)) and side >= 1 and side == int(side) for side in size):
            raise ValueError(
                f"image {entry['id']}: expected width and height as whole numbers of px, at least 1, got {size}"
            )
        images[entry["id"]] = {
            "img_id": entry["id"],
            "file_name": entry["file_name"],
            "width": int(size[0]),
            "height": int(size[1]),
        }
        if "crowdIndex" in entry:
            images[entry["id"]]["crowd_index"] = _crowd_index(entry)
    return images


def _crowd_index(image: Mapping) -> float:
    value = image["crowdIndex"]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise ValueError(f"image {image['id']}: expected a crowdIndex from 0 to 1, got {value!r}")
    return float(value)


def _person_categories(categories: Sequence[Mapping], meta: KeypointMeta) -> set | None:
    """Return the ids of the categories with this skeleton, or None if no category has keypoints."""
    skeletons = {c.get("id"): c for c in categories if c.get("keypoints")}
    if not skeletons:
        return None
    fitting = {i for i, c in skeletons.items() if len(c["keypoints"]) == meta.num_keypoints}
    if not fitting:
        found = {c.get("name"): len(c["keypoints"]) for c in skeletons.values()}
        raise ValueError(
            f"no category has the {meta.num_keypoints} keypoints of {meta.dataset_name!r}; keypoints per "
            f"category: {found}; check that the config's 'keypoints' matches this dataset"
        )
    for i in fitting:
        names = skeletons[i]["keypoints"]
        if set(names) == set(meta.names) and tuple(names) != meta.names:
            raise ValueError(
                f"category {i} has the keypoints in the order {names}, expected the config's order "
                f"{list(meta.names)}"
            )
    return fitting


def _category(annotation: Mapping) -> Any:
    if "category_id" not in annotation:
        raise ValueError(f"annotation {annotation.get('id')} has no 'category_id'")
    return annotation["category_id"]


def _with_area(annotation: Mapping, share: float) -> Mapping:
    """Return the annotation with an area computed from its box, if the box is valid."""
    try:
        _, _, width, height = annotation["bbox"]
        return {**annotation, "area": share * float(width) * float(height)}
    except (KeyError, TypeError, ValueError):
        return annotation  # reported by the checks that follow


def _check_annotations(anns: Sequence[Mapping], images: Mapping, meta: KeypointMeta) -> None:
    wanted = 3 * meta.num_keypoints
    for ann in anns:
        required = ("id", "image_id", "bbox", "area", "keypoints")
        missing = [
            key for key in required if key not in ann and not (key == "keypoints" and ann.get("iscrowd"))
        ]
        if missing:
            hint = ""
            if missing == ["keypoints"] and not any("keypoints" in other for other in anns):
                hint = "; no annotation has keypoints: is this a person_keypoints_*.json file?"
            raise ValueError(f"annotation {ann.get('id')} has no {', '.join(map(repr, missing))}{hint}")
        if ann["image_id"] not in images:
            raise ValueError(
                f"annotation {ann['id']} belongs to image {ann['image_id']}, which is not in 'images'"
            )
        if len(ann.get("keypoints", ())) != wanted and "keypoints" in ann:
            raise ValueError(
                f"annotation {ann['id']} has {len(ann['keypoints'])} numbers in 'keypoints', expected 3 * "
                f"{meta.num_keypoints} = {wanted}: x, y, visibility of each keypoint of {meta.dataset_name!r}"
            )
        if len(ann["bbox"]) != 4:
            raise ValueError(
                f"annotation {ann['id']}: expected 'bbox' as x, y, width, height, got {ann['bbox']}"
            )


def _numbers(people: Sequence[Mapping], field: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a field of all people as (M, *shape) float64."""
    try:
        array = np.array([ann[field] for ann in people], np.float64).reshape(len(people), *shape)
    except (TypeError, ValueError):
        array = np.full((len(people), *shape), np.nan)
        for row, ann in enumerate(people):
            try:
                array[row] = np.array(ann[field], np.float64).reshape(shape)
            except (TypeError, ValueError):
                raise ValueError(
                    f"annotation {ann['id']}: {field!r} must contain only numbers, got {ann[field]}"
                ) from None
    finite = np.isfinite(array).reshape(len(people), math.prod(shape)).all(axis=1)
    broken = np.flatnonzero(~finite)
    if len(broken):
        raise ValueError(f"annotation {people[broken[0]]['id']}: NaN or infinity in {field!r}")
    return array


def _fill(
    images: dict[Any, dict[str, Any]], anns: Sequence[Mapping], meta: KeypointMeta, keep_outlines: bool
) -> CocoItems:
    """Add the people and mask regions to their images."""
    candidates = [ann for ann in anns if not ann.get("iscrowd")]
    labels = _numbers(candidates, "keypoints", (meta.num_keypoints, 3))
    _check_visibility(labels[..., 2], candidates, meta)
    keypoints, visible = labels[..., :2].astype(np.float32), labels[..., 2].astype(np.uint8)
    sizes = np.array(
        [[images[a["image_id"]][side] for side in ("width", "height")] for a in candidates], np.float32
    )
    is_beyond = np.asarray((keypoints < 0) | (keypoints > sizes.reshape(-1, 1, 2)))
    outside = np.asarray((visible > 0) & is_beyond.any(axis=2))
    visible[outside] = 0
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
        if not ann.get("iscrowd"):
            if is_person[row]:
                rows[ann["image_id"]].append(row)
            row += 1
            if is_person[row - 1]:
                continue
        image["mask_regions"].extend(_regions(ann, image))
    for image_id, image in images.items():
        own = rows[image_id]
        image.update(keypoints=keypoints[own], visible=visible[own], bbox=bbox[own], area=area[own])
        if keep_outlines:
            image["outlines"] = [_outline(candidates[person], image) for person in own]
    example = ""
    if outside.any():
        person, k = np.argwhere(outside)[0]
        ann = candidates[person]
        example = (
            f"annotation {ann['id']} has {meta.names[k]} at {labels[person, k, :2].tolist()} in a photo of "
            f"{sizes[person].astype(int).tolist()} px"
        )
    return CocoItems(list(images.values()), int(outside.sum()), example)


def _check_visibility(visibility: np.ndarray, people: Sequence[Mapping], meta: KeypointMeta) -> None:
    wrong = np.argwhere(~np.isin(visibility, (0, 1, 2)))
    if len(wrong):
        person, k = wrong[0]
        raise ValueError(
            f"annotation {people[person]['id']}: visibility of {meta.names[k]} is {visibility[person, k]:g}, "
            f"expected 0 (not labelled), 1 (hidden) or 2 (visible)"
        )


def _outline(ann: Mapping, image: Mapping) -> Any:
    """Return the annotation's segmentation, or None if it has none."""
    return _regions(ann, image)[0] if ann.get("segmentation") else None


def _regions(ann: Mapping, image: Mapping) -> list:
    """Return the annotation's segmentation as mask regions, or its box if it has none."""
    segmentation = ann.get("segmentation")
    if isinstance(segmentation, Mapping):
        wanted = [image["height"], image["width"]]
        if "counts" not in segmentation or list(segmentation.get("size", ())) != wanted:
            raise ValueError(
                f"annotation {ann['id']}: expected an RLE with 'counts' and 'size' {wanted} [height, width], got the "
                f"keys {sorted(segmentation)} and the size {segmentation.get('size')}"
            )
        return [dict(segmentation)]
    polygons = [
        p for p in segmentation or [] if isinstance(p, (list, tuple)) and len(p) >= 6 and len(p) % 2 == 0
    ]
    if polygons:
        return [polygons]
    x, y, width, height = ann["bbox"]
    return [[[x, y, x + width, y, x + width, y + height, x, y + height]]] if width > 0 and height > 0 else []
