"""RandAugment in NumPy and OpenCV.

Source: Cubuk et al., RandAugment, arXiv:1909.13719. Operations and their ranges are those of its table, without Cutout.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from ehrpose.registry import TRANSFORMS

_GREY = 128
# Magnitudes go from 0 to this.
_MOST = 10


@TRANSFORMS.register_module()
class RandAugment(BaseTransform):
    """Apply a few random changes of colour or geometry to ``img``.

    Args:
        number: Changes per image, from 0.
        magnitude: Their strength, 0 to 10.
        spread: Standard deviation of the strength.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(self, number: int = 2, magnitude: float = 9, spread: float = 0.5):
        if number < 0 or not 0 <= magnitude <= _MOST or spread < 0:
            raise ValueError(
                f"expected number from 0, magnitude from 0 to {_MOST} and spread from 0, got {number}, {magnitude} "
                f"and {spread}"
            )
        self.number, self.magnitude, self.spread = number, magnitude, spread

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results["img"]
        for _ in range(self.number):
            change = OPERATIONS[random.choice(NAMES)]
            strength = min(max(random.gauss(self.magnitude, self.spread), 0.0), _MOST) / _MOST
            image = change(image, strength * random.choice((-1, 1)))
        results["img"] = image
        return results


def _table(image: np.ndarray, values: np.ndarray) -> np.ndarray:
    return cv2.LUT(image, np.clip(np.round(values), 0, 255).astype(np.uint8))


def _warped(image: np.ndarray, linear: Any, shift_xy: tuple[float, float] = (0, 0)) -> np.ndarray:
    """Return an image transformed about its centre."""
    height, width = image.shape[:2]
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.asarray(linear, np.float64)
    warp = np.hstack([matrix, (center - matrix @ center + shift_xy)[:, None]])
    return cv2.warpAffine(image, warp, (width, height), flags=cv2.INTER_LINEAR, borderValue=(_GREY,) * 3)


def _levels() -> np.ndarray:
    return np.arange(256, dtype=np.float64)


def _stretched(image: np.ndarray, _: float) -> np.ndarray:
    least, most = int(image.min()), int(image.max())
    return image if least == most else _table(image, (_levels() - least) * 255 / (most - least))


def _equalised(image: np.ndarray, _: float) -> np.ndarray:
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(image)])


def _turned(image: np.ndarray, strength: float) -> np.ndarray:
    angle = np.radians(30 * strength)
    return _warped(image, [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _posterised(image: np.ndarray, strength: float) -> np.ndarray:
    step = 2 ** round(4 * abs(strength))
    return _table(image, _levels() // step * step)


def _solarised(image: np.ndarray, strength: float) -> np.ndarray:
    levels = _levels()
    return _table(image, np.where(levels >= 256 * (1 - abs(strength)), 255 - levels, levels))


def _saturated(image: np.ndarray, strength: float) -> np.ndarray:
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    factor = 1 + 0.9 * strength
    return cv2.addWeighted(image, factor, grey, 1 - factor, 0)


def _contrasted(image: np.ndarray, strength: float) -> np.ndarray:
    mean = float(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).mean())
    return _table(image, (_levels() - mean) * (1 + 0.9 * strength) + mean)


def _brightened(image: np.ndarray, strength: float) -> np.ndarray:
    return _table(image, _levels() * (1 + 0.9 * strength))


def _sharpened(image: np.ndarray, strength: float) -> np.ndarray:
    factor = 1 + 0.9 * strength
    return cv2.addWeighted(image, factor, cv2.blur(image, (3, 3)), 1 - factor, 0)


OPERATIONS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "identity": lambda image, _: image,
    "autocontrast": _stretched,
    "equalize": _equalised,
    "rotate": _turned,
    "posterize": _posterised,
    "solarize": _solarised,
    "color": _saturated,
    "contrast": _contrasted,
    "brightness": _brightened,
    "sharpness": _sharpened,
    "shear_x": lambda image, strength: _warped(image, [[1, 0.3 * strength], [0, 1]]),
    "shear_y": lambda image, strength: _warped(image, [[1, 0], [0.3 * strength, 1]]),
    "translate_x": lambda image, strength: _warped(image, np.eye(2), (0.33 * strength * image.shape[1], 0)),
    "translate_y": lambda image, strength: _warped(image, np.eye(2), (0, 0.33 * strength * image.shape[0])),
}
NAMES = tuple(OPERATIONS)
