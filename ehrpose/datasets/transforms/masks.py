"""Masks of people as a training target, for a segmentation head in place of the pose head."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ehrpose.datasets.transforms.loss_mask import draw_loss_mask
from ehrpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class EncodeMasks(BaseTransform):
    """Draw the outlines of all people into ``targets["mask"]``, (H / stride, W / stride) int64: 1 in people, else 0.

    Items have ``outlines`` from a data set with ``keep_outlines=True``, or are of SyntheticPeople.

    Args:
        stride: Input px per px of the mask, the head's.

    Raises:
        ValueError: ``stride`` is below 1; from the transform: an item has no outlines.
    """

    def __init__(self, stride: int = 4):
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        self.stride = stride

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if "outlines" not in results:
            raise ValueError(
                "EncodeMasks needs the outlines of people: set keep_outlines=True of the dataset"
            )
        height, width = results["img"].shape[:2]
        photo_wh = (results["width"], results["height"])
        regions = [region for region in results["outlines"] if region] + list(results.get("mask_regions", ()))
        outside = draw_loss_mask(regions, photo_wh, results.get("warp", np.eye(2, 3)), (width, height))
        share = cv2.resize(
            (1 - outside).astype(np.float32),
            (width // self.stride, height // self.stride),
            interpolation=cv2.INTER_AREA,
        )
        results["targets"] = {**results.get("targets", {}), "mask": (share > 0.5).astype(np.int64)}
        return results
