"""Changes of colour that leave the geometry alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ehrpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PhotometricDistortion(BaseTransform):
    """Change brightness, contrast, saturation and hue of ``img`` at random, each with its own chance.

    All is done in 8 bit by look-up tables, about 1 ms for 512 x 512.

    Args:
        brightness: Largest shift of the values, 0 to 255.
        contrast: Least and largest factor about mid-grey.
        saturation: Least and largest factor of the saturation.
        hue: Largest turn of the hue, degrees, 0 to 180.
        prob: Chance of each of the four, 0 to 1.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        brightness: float = 32,
        contrast: Sequence[float] = (0.5, 1.5),
        saturation: Sequence[float] = (0.5, 1.5),
        hue: float = 18,
        prob: float = 0.5,
    ):
        if not 0 <= brightness <= 255 or not 0 <= hue <= 180 or not 0 <= prob <= 1:
            raise ValueError(
                f"wanted brightness 0 to 255, hue 0 to 180, prob 0 to 1; got {brightness}, {hue}, {prob}"
            )
        for name, limits in (("contrast", contrast), ("saturation", saturation)):
            if len(limits) != 2 or not 0 <= limits[0] <= limits[1]:
                raise ValueError(f"{name} must be (least, largest) with 0 <= least <= largest, got {limits}")
        self.brightness = brightness
        self.contrast = tuple(contrast)
        self.saturation = tuple(saturation)
        self.hue = hue
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        shift, factor, saturation, hue = (
            draw if random.random() < self.prob else neutral
            for draw, neutral in (
                (random.uniform(-self.brightness, self.brightness), 0.0),
                (random.uniform(*self.contrast), 1.0),
                (random.uniform(*self.saturation), 1.0),
                (random.uniform(-self.hue, self.hue), 0.0),
            )
        )
        image = results["img"]
        values = np.arange(256, dtype=np.float32)
        if shift or factor != 1:
            image = cv2.LUT(image, _as_table((values - 127.5) * factor + 127.5 + shift))
        if saturation != 1 or hue:
            table = np.stack([values, values * saturation, values], axis=-1)
            # OpenCV's 8-bit hue counts in steps of two degrees.
            table[:, 0] = np.round(values + hue / 2) % 180
            hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), _as_table(table)[:, None])
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        results["img"] = image
        return results


def _as_table(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
