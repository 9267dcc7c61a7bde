"""Masks that turn the loss off in COCO segmentations of crowds and of people without keypoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from ehrpose.image_warp import warp_image, warp_points

# Fractional bits of the coordinates passed to OpenCV.
_SHIFT = 4


def draw_loss_mask(
    regions: Sequence[Any], photo_wh: Sequence[int], warp: np.ndarray, size_wh: tuple[int, int]
) -> np.ndarray:
    """Draw the loss mask of one input.

    Args:
        regions: COCO segmentations in the photo: lists of polygons [x0, y0, x1, y1, ...], or RLE mappings
            with ``size`` and ``counts`` (compressed or not).
        photo_wh: Width and height of the photo, px.
        warp: (2, 3), photo to input.
        size_wh: Width and height of the input, px.

    Returns:
        (H, W) uint8, 0 in the regions and 1 elsewhere.

    Raises:
        ValueError: An RLE is invalid or does not have the photo's size.
    """
    mask = np.ones((size_wh[1], size_wh[0]), np.uint8)
    encoded = [region for region in regions if isinstance(region, Mapping)]
    for polygons in regions:
        if isinstance(polygons, Mapping):
            continue
        for polygon in polygons:
            # The origin of COCO's polygons is the corner of the first pixel, ours is its centre.
            corners = warp_points(np.asarray(polygon, np.float64).reshape(-1, 2) - 0.5, warp)
            fixed = np.round(np.clip(corners, -1e6, 1e6) * (1 << _SHIFT)).astype(np.int32)
            # One at a time: overlapping polygons would cancel out in a single call.
            cv2.fillPoly(mask, [fixed], 0, shift=_SHIFT)
    if encoded:
        covered = _decode(encoded, photo_wh)
        mask[warp_image(covered, warp, size_wh, interpolation=cv2.INTER_NEAREST) > 0] = 0
    return mask


def _decode(regions: Sequence[Mapping], photo_wh: Sequence[int]) -> np.ndarray:
    """Return the union of RLE regions, (H, W) uint8 0 or 1."""
    from pycocotools import mask as coco_mask

    width, height = photo_wh
    compressed = []
    for region in regions:
        if list(region["size"]) != [height, width]:
            raise ValueError(f"RLE has size {list(region['size'])}, expected the photo's [{height}, {width}]")
        counts = region["counts"]
        compressed.append(
            coco_mask.frPyObjects(dict(region), height, width) if isinstance(counts, list) else dict(region)
        )
    return coco_mask.decode(coco_mask.merge(compressed))
