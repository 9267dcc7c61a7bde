"""Reading COCO keypoint files as exported by CVAT, Label Studio, COCO Annotator and others."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.keypoint_meta import KeypointMeta


class CocoExport:
    """A JSON file of people with keypoints in COCO format.

    Keypoints may come in another order than in the skeleton. Keypoints that the file lacks count as not labelled.
    Outlines are kept as polygons, run-length masks as their boxes.

    Args:
        path: The JSON file.
        label: Name of the category, if several have keypoints.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not in COCO format, or has no category with keypoints.
    """

    def __init__(self, path: Path, label: str | None = None):
        if not path.is_file():
            raise FileNotFoundError(f"file not found: {path}")
        try:
            content = json.loads(path.read_bytes())
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} is not valid JSON: {error}") from error
        lists = ("images", "annotations", "categories")
        if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
            raise ValueError(f"{path}: expected COCO format with the lists {', '.join(lists)}")
        self.path = path
        self._content = content
        self._category = self._find_category(label)

    def _find_category(self, label: str | None) -> dict[str, Any]:
        known = {c.get("name"): c for c in self._content["categories"] if c.get("keypoints")}
        if label is not None and label not in known:
            raise ValueError(
                f"{self.path}: no category {label!r} with keypoints; available: {sorted(map(str, known))}"
            )
        if label is None and len(known) != 1:
            raise ValueError(
                f"{self.path}: "
                + (
                    f"several categories have keypoints, {sorted(map(str, known))}; choose one with `label`"
                    if known
                    else "no category has keypoints"
                )
            )
        return known[label] if label is not None else next(iter(known.values()))

    def keypoints(self) -> dict[str, Any]:
        """Return a keypoint config made from the file's own category."""
        names = [str(name) for name in self._category["keypoints"]]
        limbs = []
        for pair in self._category.get("skeleton") or []:
            if len(pair) == 2 and all(isinstance(i, int) and 1 <= i <= len(names) for i in pair):
                limbs.append((names[pair[0] - 1], names[pair[1] - 1]))
        return guess_keypoints(str(self._category.get("name", "person")), names, limbs)

    def read(
        self,
        meta: KeypointMeta,
        search: PhotoSearch,
        rename: Mapping[str, str] | None = None,
        ignore: Collection[str] = (),
    ) -> list[LabelledPhoto]:
        """Return the photos and their people.

        Args:
            meta: The skeleton.
            search: Finds the photos.
            rename: Keypoint in the file to keypoint name, where they differ.
            ignore: Keypoints in the file that are left out.

        Raises:
            ValueError: A keypoint is unknown, or an annotation is broken; the message names its id.
        """
        columns = self._columns(meta, rename or {}, set(ignore))
        people = defaultdict(list)
        for ann in self._content["annotations"]:
            if ann.get("category_id") == self._category.get("id"):
                try:
                    people[ann.get("image_id")].append(_person(ann, columns, meta))
                except (TypeError, ValueError, KeyError) as error:
                    raise ValueError(f"{self.path}: annotation {ann.get('id')}: {error}") from error
        photos = []
        for image in self._content["images"]:
            name = str(image.get("file_name", ""))
            size = (image.get("width"), image.get("height"))
            photos.append(
                LabelledPhoto(
                    search.find(name),
                    search.name(name),
                    (int(size[0]), int(size[1])) if size[0] and size[1] else None,
                    people[image.get("id")],
                    f"{self.path}: {name}",
                )
            )
        return photos

    def _columns(self, meta: KeypointMeta, rename: Mapping[str, str], ignore: set[str]) -> list[int | None]:
        """Return the skeleton index of each keypoint of the file; None for ignored ones."""
        columns: list[int | None] = []
        for label in map(str, self._category["keypoints"]):
            name = rename.get(label, label)
            if label in ignore:
                columns.append(None)
            elif name in meta.names:
                columns.append(meta.names.index(name))
            else:
                raise ValueError(
                    f"{self.path}: unknown keypoint {label!r}; keypoints of {meta.dataset_name!r}: "
                    f"{list(meta.names)}. Use `rename` {label}=NAME or `ignore` {label}"
                )
        return columns


def _person(ann: Mapping[str, Any], columns: list[int | None], meta: KeypointMeta) -> LabelledPerson:
    keypoints = np.zeros((meta.num_keypoints, 3))
    if ann.get("keypoints"):
        labels = np.array(ann["keypoints"], np.float64)
        if labels.shape != (3 * len(columns),) or not np.isfinite(labels).all():
            raise ValueError(f"expected 3 * {len(columns)} finite numbers in 'keypoints', got {len(labels)}")
        for (x, y, visibility), k in zip(labels.reshape(-1, 3).tolist(), columns):
            if visibility not in (0, 1, 2):
                raise ValueError(
                    f"expected visibility 0 (not labelled), 1 (hidden) or 2 (visible), got {visibility:g}"
                )
            if k is not None:
                keypoints[k] = (x, y, visibility)
    segmentation = ann.get("segmentation")
    polygons = (
        [p for p in segmentation if len(p) >= 6 and len(p) % 2 == 0] if isinstance(segmentation, list) else []
    )
    box = ann.get("bbox")
    if box is not None and (len(box) != 4 or not np.isfinite(np.array(box, np.float64)).all()):
        raise ValueError(f"expected x, y, width, height as 'bbox', got {box}")
    # Some tools write zeros for a missing box.
    has_box = box is not None and box[2] > 0 and box[3] > 0
    return LabelledPerson(keypoints, box if has_box else None, polygons, bool(ann.get("iscrowd")))
