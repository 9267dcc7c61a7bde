"""The values of a COCO JSON: one rule for training, evaluation and conversion.

Numbers are JSON numbers: a number written as text is an error everywhere, so that no reader takes what another one
refuses. Every error states the entry, what was expected and what was given.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from ehrpose.datasets.coco_masks import clean_segmentation, mask_area, mask_points
from ehrpose.datasets.json_values import are_finite, is_number
from ehrpose.datasets.json_values import shown as shown
from ehrpose.oks import AREA_OF_BOX

# Margin on each side of a box made from keypoints, as a fraction of its longer side: heads and feet reach beyond them.
_BOX_MARGIN = 0.1


def objects(content: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return a list of objects of the file, such as ``images``; an absent or null one is empty.

    Raises:
        ValueError: It is not a list, or an entry is not an object.
    """
    entries = content.get(key)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise ValueError(f"expected COCO format with a list {key!r}, got {shown(entries)}")
    for place, entry in enumerate(entries):
        if not isinstance(entry, Mapping):
            kind = "category" if key == "categories" else key[:-1]
            raise ValueError(f"{kind} number {place}: expected an object, got {shown(entry)}")
    return entries


def read_id(value: Any, what: str) -> Any:
    """Return an id: a whole number or a text.

    Args:
        value: The id as stored.
        what: Its place, for the error.
    """
    if isinstance(value, str) and value:
        return value
    if is_number(value) and are_finite([value]) and value == int(value):
        return int(value)
    raise ValueError(f"{what}: expected a whole number or a text, got {shown(value)}")


def read_images(entries: Sequence[Mapping], need_files: bool = True) -> dict[Any, dict[str, Any]]:
    """Return the photos by id, in file order: img_id, file_name, width and height, px, and crowd_index if stored.

    Args:
        entries: The file's ``images``.
        need_files: Every photo needs a name and a size; False: these may be missing, a missing size is 0.

    Raises:
        ValueError: A field is missing or invalid, ids are of two kinds, or a photo is listed twice.
    """
    images: dict[Any, dict[str, Any]] = {}
    for place, entry in enumerate(entries):
        missing = [
            k for k in ("id", "file_name", "width", "height")[: 4 if need_files else 1] if k not in entry
        ]
        name = f"image {shown(entry['id']) if 'id' in entry else f'number {place}'}"
        if missing:
            raise ValueError(f"{name} has no {', '.join(map(repr, missing))}")
        image_id = read_id(entry["id"], f"image number {place}, 'id'")
        if image_id in images:
            raise ValueError(f"image id {shown(image_id)} is used twice; give every photo its own id")
        images[image_id] = _image(image_id, entry, name, need_files)
    if len({isinstance(i, str) for i in images}) > 1:
        texts = next(i for i in images if isinstance(i, str))
        number = next(i for i in images if not isinstance(i, str))
        raise ValueError(
            f"expected ids of images that are all numbers or all texts, got {number} and {shown(texts)}"
        )
    _check_names(images)
    return images


def _image(image_id: Any, entry: Mapping, name: str, need_files: bool) -> dict[str, Any]:
    file_name = entry.get("file_name")
    if not (isinstance(file_name, str) and file_name) and (need_files or file_name is not None):
        raise ValueError(f"{name}: expected a text as 'file_name', got {shown(file_name)}")
    sides: list[Any] = [entry.get(key) for key in ("width", "height")]
    if not need_files:
        sides = [side or 0 for side in sides]
    if not all(is_number(s) and are_finite([s]) and s == int(s) and s >= need_files for s in sides):
        raise ValueError(
            f"{name}: expected width and height as whole numbers of px, at least 1, got {shown(sides)}"
        )
    image = {"img_id": image_id, "file_name": file_name, "width": int(sides[0]), "height": int(sides[1])}
    if "crowdIndex" in entry:
        value = entry["crowdIndex"]
        if not is_number(value) or not 0 <= value <= 1:
            raise ValueError(f"{name}: expected a crowdIndex from 0 to 1, got {shown(value)}")
        image["crowd_index"] = float(value)
    return image


def _check_names(images: Mapping[Any, Mapping]) -> None:
    """Raise an error if a photo is listed under two ids: each entry would hold only some of its people."""
    owners: dict[str, Any] = {}
    for image_id, image in images.items():
        if image["file_name"] is None:
            continue
        name = PurePosixPath(image["file_name"].replace("\\", "/")).as_posix()
        if name in owners:
            raise ValueError(
                f"the photo {name!r} is listed twice, as image {shown(owners[name])} and image {shown(image_id)}; "
                f"merge the two entries, or rename one of the photos"
            )
        owners[name] = image_id


def person_categories(entries: Sequence[Mapping], names: Sequence[str]) -> set | None:
    """Return the ids of the categories with these keypoints, or None if no category has keypoints.

    Case, blanks, dots, hyphens and underscores in the names make no difference.

    Args:
        entries: The file's ``categories``.
        names: K keypoint names.

    Raises:
        ValueError: A category is invalid, an id is used twice, or no category has these keypoints in this order.
    """
    skeletons = read_categories(entries)
    skeletons = {i: labels for i, labels in skeletons.items() if labels}
    if not skeletons:
        return None
    wanted = [_plain(name) for name in names]
    plain = {i: [_plain(label) for label in labels] for i, labels in skeletons.items()}
    fitting = {i for i, labels in plain.items() if labels == wanted}
    if fitting:
        return fitting
    for i, labels in plain.items():
        if sorted(labels) == sorted(wanted):
            raise ValueError(
                f"category {shown(i)} has the keypoints in the order {list(skeletons[i])}, expected the config's "
                f"order {list(names)}; tools/dataset_converters/cvat_to_coco.py reorders them"
            )
    titles = {entry["id"]: entry.get("name") for entry in entries}
    if len(wanted) not in map(len, plain.values()):
        found = {titles[i]: len(labels) for i, labels in skeletons.items()}
        raise ValueError(
            f"no category has the {len(wanted)} keypoints of the config; keypoints per category: {found}; "
            f"check that the config's 'keypoints' matches this dataset"
        )
    listed = {titles[i]: list(labels) for i, labels in skeletons.items()}
    raise ValueError(
        f"no category has the config's keypoint names {list(names)}; found {listed}; use the file's names in the "
        f"config's 'keypoints', or rename them with tools/dataset_converters/cvat_to_coco.py"
    )


def _plain(name: str) -> str:
    return re.sub(r"[\s_.\-]", "", name).casefold()


def read_categories(entries: Sequence[Mapping]) -> dict[Any, tuple[str, ...]]:
    """Return the keypoint names of each category by id; empty for categories without keypoints.

    Raises:
        ValueError: A category has no valid id, shares it with another one, or its keypoints are not a list of names.
    """
    skeletons: dict[Any, tuple[str, ...]] = {}
    for place, entry in enumerate(entries):
        if "id" not in entry:
            raise ValueError(f"category number {place} has no 'id'")
        category_id = read_id(entry["id"], f"category number {place}, 'id'")
        if category_id in skeletons:
            raise ValueError(
                f"category id {shown(category_id)} is used twice; give every category its own id"
            )
        labels = entry.get("keypoints")
        labels = [] if labels is None else labels
        if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
            raise ValueError(
                f"category {shown(category_id)}: expected a list of names as 'keypoints', got {shown(labels)}"
            )
        skeletons[category_id] = tuple(labels)
    return skeletons


def name_of(annotation: Mapping, place: int | None = None) -> str:
    """Return ``annotation ID`` for an error, or its place in the file if it has no id."""
    if "id" in annotation or place is None:
        return f"annotation {shown(annotation.get('id'))}"
    return f"annotation number {place}"


def clean_annotation(ann: Mapping, names: Sequence[str], size: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """Return an annotation after a check of the fields that it has.

    ``iscrowd`` becomes 0 or 1; ``segmentation`` a list of flat polygons, a run-length mask, or empty.

    Args:
        ann: The annotation as stored.
        names: K keypoint names.
        size: (width, height) of its photo, px; 0: unknown.

    Raises:
        ValueError: A value is invalid; the message gives the id of the annotation.
    """
    name = name_of(ann)
    clean = {**ann, "iscrowd": _crowd(ann, name)}
    if "keypoints" in ann:
        clean["keypoints"] = _keypoints(ann["keypoints"], names, name)
    if "bbox" in ann:
        clean["bbox"] = _box(ann["bbox"], name)
    if "area" in ann:
        area = ann["area"]
        if not is_number(area) or not are_finite([area]) or area < 0:
            raise ValueError(f"{name}: expected a number, at least 0, as 'area', got {shown(area)}")
    count = ann.get("num_keypoints")
    if count is not None and not (is_number(count) and are_finite([count]) and 0 <= count == int(count)):
        raise ValueError(f"{name}: expected a whole number as 'num_keypoints', got {shown(count)}")
    if "segmentation" in ann:
        try:
            clean["segmentation"] = clean_segmentation(ann["segmentation"], size)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return clean


def _crowd(ann: Mapping, name: str) -> int:
    value = ann.get("iscrowd")
    if value is None:
        return 0
    if isinstance(value, bool) or (is_number(value) and value in (0, 1)):
        return int(value)
    raise ValueError(f"{name}: expected 0 or 1 as 'iscrowd', got {shown(value)}")


def _keypoints(values: Any, names: Sequence[str], name: str) -> list:
    values = values.tolist() if isinstance(values, np.ndarray) else values
    wanted = f"expected 3 * {len(names)} = {3 * len(names)}: x, y, visibility of each keypoint"
    if not isinstance(values, (list, tuple)):
        raise ValueError(f"{name}: 'keypoints' must be a list of numbers, {wanted}, got {shown(values)}")
    if len(values) != 3 * len(names):
        raise ValueError(f"{name} has {len(values)} numbers in 'keypoints', {wanted}")
    if not are_finite(values):
        wrong = next(value for value in values if not are_finite([value]))
        raise ValueError(f"{name}: 'keypoints' must contain only finite numbers, got {shown(wrong)}")
    for label, visibility in zip(names, values[2::3]):
        if visibility not in (0, 1, 2):
            raise ValueError(
                f"{name}: visibility of {label} is {visibility:g}, expected 0 (not labelled), 1 (hidden) or "
                f"2 (visible)"
            )
    return list(values)


def _box(box: Any, name: str) -> list:
    box = box.tolist() if isinstance(box, np.ndarray) else box
    if not isinstance(box, (list, tuple)) or len(box) != 4 or not are_finite(box):
        raise ValueError(f"{name}: expected 'bbox' as four numbers x, y, width, height, got {shown(box)}")
    if min(box[2:]) < 0:
        raise ValueError(f"{name}: expected a width and height of at least 0 in 'bbox', got {shown(box)}")
    return list(box)


def complete_annotation(
    clean: Mapping[str, Any], size: tuple[int, int], stored_counts: bool = False
) -> dict[str, Any]:
    """Return a checked annotation with every field that training and evaluation need.

    Keypoints outside the photo get visibility 0. ``num_keypoints`` is counted. A missing box is the one around the
    outline, or else around the labelled keypoints; a missing area is that of the outline, or else 0.53 of the box.

    Args:
        clean: From ``clean_annotation``.
        size: (width, height) of its photo, px; 0: unknown, then no keypoint is outside.
        stored_counts: Keep a stored ``num_keypoints`` that is smaller, as in CrowdPose, which counts visible ones.

    Raises:
        ValueError: The annotation has nothing to make a box of.
    """
    done = dict(clean)
    keypoints = done.get("keypoints")
    if keypoints is not None:
        done["keypoints"] = keypoints = inside(keypoints, size)
        count = sum(v > 0 for v in keypoints[2::3])
        stored = done.get("num_keypoints")
        done["num_keypoints"] = count if stored is None or not stored_counts else min(count, int(stored))
    if "bbox" not in done:
        box = box_around(keypoints or (), done.get("segmentation") or (), size)
        if box is None:
            raise ValueError(f"{name_of(done)} has no 'bbox', and no keypoints or outline to make it from")
        done["bbox"] = box
    if "area" not in done:
        _, _, width, height = done["bbox"]
        outline = mask_area(done.get("segmentation") or ())
        done["area"] = outline or AREA_OF_BOX * width * height
    return done


def inside(keypoints: Sequence[Any], size: tuple[int, int]) -> list[Any]:
    """Return flat keypoints with visibility 0 for those outside a photo; its far edge counts as inside."""
    result, (width, height) = list(keypoints), size
    if width and height:
        for k in range(0, len(result), 3):
            x, y, visibility = result[k : k + 3]
            if visibility and not (0 <= x <= width and 0 <= y <= height):
                result[k + 2] = 0
    return result


def box_around(keypoints: Sequence[float], segmentation: Any, size: tuple[int, int]) -> list[float] | None:
    """Return the box around the outline, or else around the labelled keypoints plus a margin, clipped to the photo.

    Args:
        keypoints: Flat x, y, visibility.
        segmentation: Flat polygons or a run-length mask; empty: none.
        size: (width, height) of the photo, px; 0: unknown.

    Returns:
        x, y, width, height; None if nothing is labelled.
    """
    points = mask_points(segmentation)
    margin = 0.0
    if not len(points):
        labels = np.asarray(keypoints, np.float64).reshape(-1, 3)
        points, margin = labels[labels[:, 2] > 0, :2], _BOX_MARGIN
    if not len(points):
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    # A single keypoint, or several in a line, still need a box of nonzero area.
    grow = np.maximum(margin * (high - low).max(), 1.0 if margin else 0.0)
    x0, y0 = np.maximum(low - grow, 0)
    x1, y1 = np.minimum(high + grow, [side or np.inf for side in size])
    # What lies outside of the photo leaves a box without width or height.
    return [float(x0), float(y0), max(float(x1 - x0), 0.0), max(float(y1 - y0), 0.0)]
