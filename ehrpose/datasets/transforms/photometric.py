"""Colour augmentation and erasing, which leave the geometry unchanged."""

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
    """Change brightness, contrast, saturation and hue of ``img`` at random, independently of each other.

    Works in 8 bit with look-up tables, about 1 ms for 512 x 512 px.

    Args:
        brightness: Maximum shift of the values, 0 to 255.
        contrast: Minimum and maximum factor about mid-grey.
        saturation: Minimum and maximum factor of the saturation.
        hue: Maximum rotation of the hue, degrees, 0 to 180.
        prob: Probability of each of the four, 0 to 1.

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
                f"brightness must be from 0 to 255, hue from 0 to 180 and prob from 0 to 1, got {brightness}, {hue} "
                f"and {prob}"
            )
        for name, limits in (("contrast", contrast), ("saturation", saturation)):
            if len(limits) != 2 or not 0 <= limits[0] <= limits[1]:
                raise ValueError(f"{name} must be (min, max) with 0 <= min <= max, got {limits}")
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
            # OpenCV's 8-bit hue is in steps of two degrees.
            table[:, 0] = np.round(values + hue / 2) % 180
            hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), _as_table(table)[:, None])
            image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        results["img"] = image
        return results


# Principal directions of ImageNet's colours, RGB divided by 255, one per column, and their standard deviations.
_PCA_DIRECTIONS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float64
)
_PCA_DEVIATIONS = np.array([0.2175, 0.0188, 0.0045])


@TRANSFORMS.register_module()
class PcaLighting(BaseTransform):
    """Shift the colour of the whole ``img`` along the principal directions of natural photos' colours.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks, 2012, section 4.1.

    Args:
        deviation: Standard deviation of the shift along each direction, in units of that direction's own.

    Raises:
        ValueError: ``deviation`` is negative.
    """

    def __init__(self, deviation: float = 0.1):
        if deviation < 0:
            raise ValueError(f"deviation must be at least 0, got {deviation}")
        self.deviation = deviation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        draws = np.array([random.gauss(0, self.deviation) for _ in range(3)])
        shift_bgr = 255 * (_PCA_DIRECTIONS @ (draws * _PCA_DEVIATIONS))[::-1]
        table = _as_table(np.arange(256)[:, None] + shift_bgr)[:, None]
        results["img"] = cv2.LUT(results["img"], table)
        return results


@TRANSFORMS.register_module()
class RandomErase(BaseTransform):
    """Cover random rectangles of ``img`` with one random colour each, to simulate occlusion.

    The labels of covered keypoints are unchanged.

    Args:
        prob: Probability that anything is covered, 0 to 1.
        max_number: Maximum number of rectangles, at least 1.
        side: Minimum and maximum side of a rectangle, as a fraction of the image's, 0 to 1.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(self, prob: float = 0.5, max_number: int = 3, side: Sequence[float] = (0.05, 0.25)):
        if not 0 <= prob <= 1 or max_number < 1:
            raise ValueError(
                f"prob must be from 0 to 1 and max_number at least 1, got {prob} and {max_number}"
            )
        if len(side) != 2 or not 0 < side[0] <= side[1] <= 1:
            raise ValueError(f"side must be (min, max) with 0 < min <= max <= 1, got {side}")
        self.prob = prob
        self.max_number = max_number
        self.side = tuple(side)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if random.random() >= self.prob:
            return results
        image = results["img"].copy()
        height, width = image.shape[:2]
        for _ in range(random.randint(1, self.max_number)):
            high, wide = (max(1, round(random.uniform(*self.side) * size)) for size in (height, width))
            top, left = random.randint(0, height - high), random.randint(0, width - wide)
            image[top : top + high, left : left + wide] = [random.randint(0, 255) for _ in range(3)]
        results["img"] = image
        return results


def _as_table(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)
