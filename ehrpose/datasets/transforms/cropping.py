"""Square inputs of a classifier: cut out at random for training, from the middle for testing."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ehrpose.image_warp import centre_crop_warp, compose_warps, warp_image
from ehrpose.registry import TRANSFORMS

# As in other trainings on ImageNet: after so many crops that do not fit, the largest one from the middle.
_TRIES = 10


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Cut out a rectangle of random area, aspect and angle, and resize it to a square, in one resampling.

    Source: Szegedy et al., arXiv:1409.4842, section 6.

    Args:
        size: Side of the result, px.
        scale: Smallest and largest area of the rectangle, as a share of the photo's.
        aspect: Smallest and largest ratio of its width to its height.
        rotate: Largest rotation, degrees, either way.
        border: Grey value outside the photo.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(
        self,
        size: int,
        scale: Sequence[float] = (0.08, 1.0),
        aspect: Sequence[float] = (3 / 4, 4 / 3),
        rotate: float = 0.0,
        border: int = 128,
    ):
        if size < 1 or not 0 <= rotate <= 180:
            raise ValueError(f"expected size from 1 and rotate from 0 to 180, got {size} and {rotate}")
        if len(scale) != 2 or not 0 < scale[0] <= scale[1] <= 1:
            raise ValueError(f"scale must be (min, max) with 0 < min <= max <= 1, got {scale}")
        if len(aspect) != 2 or not 0 < aspect[0] <= aspect[1]:
            raise ValueError(f"aspect must be (min, max) with 0 < min <= max, got {aspect}")
        self.size, self.rotate, self.border = size, rotate, border
        self.scale, self.aspect = tuple(scale), tuple(aspect)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results["img"]
        x, y, width, height = self._rectangle(*image.shape[1::-1])
        angle = math.radians(random.uniform(-self.rotate, self.rotate)) if self.rotate else 0.0
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        linear = np.array([[self.size / width], [self.size / height]]) * turn
        middle = np.array([x + (width - 1) / 2, y + (height - 1) / 2])
        warp = np.hstack([linear, ((self.size - 1) / 2 - linear @ middle)[:, None]])
        results["img"] = warp_image(image, warp, (self.size, self.size), border=(self.border,) * 3)
        results["warp"] = compose_warps(warp, results.get("warp", np.eye(2, 3)))
        return results

    def _rectangle(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return left, top, width and height of a random rectangle in a photo."""
        for _ in range(_TRIES):
            area = width * height * random.uniform(*self.scale)
            aspect = math.exp(random.uniform(*map(math.log, self.aspect)))
            wide, high = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if wide <= width and high <= height:
                return random.uniform(0, width - wide), random.uniform(0, height - high), wide, high
        wide = min(width, height * self.aspect[1])
        high = min(height, width / self.aspect[0])
        return (width - wide) / 2, (height - high) / 2, wide, high


@TRANSFORMS.register_module()
class CenterSquare(BaseTransform):
    """Resize a photo and cut a square out of its middle.

    Args:
        size: Side of the result, px.
        share: Share of the photo's short side that it shows, above 0 to 1.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(self, size: int, share: float = 0.875):
        if size < 1 or not 0 < share <= 1:
            raise ValueError(f"expected size from 1 and share above 0 to 1, got {size} and {share}")
        self.size, self.share = size, share

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        warp = centre_crop_warp(results["img"].shape[1::-1], self.size, self.share)
        results["img"] = warp_image(results["img"], warp, (self.size, self.size))
        results["warp"] = compose_warps(warp, results.get("warp", np.eye(2, 3)))
        return results


@TRANSFORMS.register_module()
class RandomMirror(BaseTransform):
    """Mirror the image alone, left to right; for items with keypoints there is RandomFlip.

    Args:
        prob: Probability, 0 to 1.

    Raises:
        ValueError: ``prob`` is out of range.
    """

    def __init__(self, prob: float = 0.5):
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be from 0 to 1, got {prob}")
        self.prob = prob

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if random.random() < self.prob:
            results["img"] = cv2.flip(results["img"], 1)
            mirror = np.array([[-1.0, 0, results["img"].shape[1] - 1], [0, 1, 0]])
            results["warp"] = compose_warps(mirror, results.get("warp", np.eye(2, 3)))
            results["flip"] = not results.get("flip", False)
        return results
