"""COCO annotations of a photo that was resized."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np

from ehrpose.datasets.coco_masks import clean_segmentation, run_lengths_of


def scaled_annotation(ann: Mapping[str, Any], old: tuple[int, int], new: tuple[int, int]) -> dict:
    """Return a COCO annotation for a photo of another size: keypoints, box, area and segmentation follow.

    Args:
        ann: The annotation.
        old: (width, height) of its photo, px.
        new: (width, height) of the resized photo, px.

    Raises:
        ValueError: A value is not as expected; the message names the annotation.
    """
    try:
        return _scaled(ann, old, new)
    except (TypeError, ValueError) as error:
        raise ValueError(f"annotation {ann.get('id')}: {error}") from error


def _scaled(ann: Mapping[str, Any], old: tuple[int, int], new: tuple[int, int]) -> dict:
    """Return an annotation for a photo of another size; what has no size is kept."""
    fx, fy = new[0] / old[0], new[1] / old[1]
    scaled = dict(ann)
    if ann.get("keypoints"):
        points = np.asarray(ann["keypoints"], np.float64).reshape(-1, 3)
        # Pixel centres: the middle of the first pixel is at 0.
        placed = points[:, 2:] > 0
        moved = (points[:, :2] + 0.5) * (fx, fy) - 0.5
        # A keypoint on the border stays in the photo, or readers would drop it.
        inside = (points[:, :2] >= 0) & (points[:, :2] <= old)
        moved = np.where(inside, moved.clip(0, new), moved)
        points[:, :2] = np.where(placed, moved.round(2), points[:, :2])
        scaled["keypoints"] = [int(v) if i % 3 == 2 else v for i, v in enumerate(points.ravel().tolist())]
    if ann.get("bbox"):
        scaled["bbox"] = [round(v * f, 2) for v, f in zip(ann["bbox"], (fx, fy, fx, fy))]
    if ann.get("area"):
        scaled["area"] = round(ann["area"] * fx * fy, 2)
    if ann.get("segmentation"):
        scaled["segmentation"] = _scaled_outline(clean_segmentation(ann["segmentation"], old), new, (fx, fy))
    return scaled


def _scaled_outline(outline: Any, new: tuple[int, int], factors: tuple[float, float]) -> Any:
    if isinstance(outline, list):
        return [[round(v * factors[i % 2], 2) for i, v in enumerate(polygon)] for polygon in outline]
    height, width = outline["size"]
    lengths = run_lengths_of(outline)
    mask = np.repeat(np.arange(len(lengths)) % 2, lengths).astype(np.uint8).reshape(width, height).T
    small = cv2.resize(np.ascontiguousarray(mask), new, interpolation=cv2.INTER_NEAREST)
    flat = small.T.ravel()
    ends = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], ends, [len(flat)]])).tolist()
    # The first run is of background, even if it is empty.
    return {"size": [new[1], new[0]], "counts": [0, *runs] if flat[0] else runs}
