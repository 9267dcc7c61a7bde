"""Argument checks of the codec."""

from __future__ import annotations

import math
from typing import Any, Sequence

import cv2
import numpy as np

from ehrpose.structures import Maps


def checked_maps(names: Sequence[str], num_keypoints: int, maps: Maps) -> Maps:
    """Return the maps called ``names`` as float32 arrays; maps of other names come back as None.

    Raises:
        ValueError: A map is missing, has the wrong shape, or contains NaN or infinity.
    """
    k = num_keypoints
    arrays = {name: np.asarray(getattr(maps, name), np.float32) for name in names
              if getattr(maps, name) is not None}  # fmt: skip
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"expected the maps {tuple(names)}; {missing} are missing")
    height, width = arrays["heat4"].shape[-2:]
    for name, array in arrays.items():
        factor = 4 // int(name[-1])
        channels_fit = array.shape[0] == k if name.startswith("heat") else array.shape[0] % k == 0
        if array.ndim != 3 or not channels_fit or array.shape[1:] != (height * factor, width * factor):
            raise ValueError(
                f"{name}: expected shape ({k}{' * T' if name.startswith('tag') else ''}, {height * factor}, "
                f"{width * factor}), got {array.shape}"
            )
        if not all_finite(array):
            raise ValueError(f"{name} contains NaN or infinity: the network's output is broken")
    return Maps(**{name: arrays.get(name) for name in Maps._fields})


def all_finite(array: np.ndarray) -> bool:
    """Whether a float32 array of any shape holds neither NaN nor infinity."""
    # OpenCV sums float32 in float64, which no map can overflow: the sum is finite exactly if all values are.
    return math.isfinite(cv2.sumElems(array.reshape(-1, array.shape[-1]))[0])


def positive_int(value: Any, name: str) -> int:
    """Return ``value`` as an int.

    Raises:
        ValueError: It is not a whole number of at least 1.
    """
    is_number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    if not is_number or value % 1 or value < 1:
        raise ValueError(f"{name}: expected a whole number of at least 1, got {value!r}")
    return int(value)
