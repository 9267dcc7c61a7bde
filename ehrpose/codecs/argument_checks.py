"""Argument checks of the codec."""

from __future__ import annotations

import math
from typing import Any, Sequence, Tuple

import cv2
import numpy as np

from ehrpose.structures import Maps, PeakMaps

# Largest size of a value. Squares of distances between tags, in float32, and costs of grouping stay far from overflow
# up to here, and no trained network comes near.
LARGEST = 1e15


def checked_maps(names: Sequence[str], num_keypoints: int, maps: Maps) -> Maps:
    """Return the maps called ``names`` as float32 arrays; maps of other names come back as None.

    Raises:
        ValueError: A map is missing, has the wrong shape, or contains NaN or infinity.
    """
    k = num_keypoints
    arrays = {name: _values(name, getattr(maps, name)) for name in names if getattr(maps, name) is not None}
    missing = [name for name in names if name not in arrays]
    if missing:
        raise ValueError(f"expected the maps {tuple(names)}; {missing} are missing")
    coarsest = max(int(name[-1]) for name in names)
    first = arrays[f"heat{coarsest}"]
    height, width = first.shape[-2:] if first.ndim == 3 else (0, 0)
    for name, array in arrays.items():
        factor = coarsest // int(name[-1])
        tags = name.startswith("tag")
        channels_fit = array.ndim == 3 and (array.shape[0] % k == 0 if tags else array.shape[0] == k)
        if not channels_fit or not array.size or array.shape[1:] != (height * factor, width * factor):
            size = (
                f"{height * factor}, {width * factor}" if height and width else f"{factor} * H, {factor} * W"
            )
            raise ValueError(
                f"{name}: expected shape ({k}{' * T' if tags else ''}, {size}), got {array.shape}"
            )
        _check_size(name, array)
    return Maps(**{name: arrays.get(name) for name in Maps._fields})


def checked_peaks(num_keypoints: int, peaks: PeakMaps, num_pixels: int) -> PeakMaps:
    """Return the candidates of one image as arrays, float32 but for int64 pixels.

    Args:
        num_keypoints: K.
        peaks: The candidates.
        num_pixels: Pixels of the finest heatmap.

    Raises:
        ValueError: A field has the wrong shape or type, a value is out of range, NaN or infinite.
    """
    pixels = np.asarray(peaks.peak_pixels)
    if pixels.dtype.kind not in "iu":
        raise ValueError(f"peak_pixels: expected whole numbers, got an array of {pixels.dtype}")
    fields = PeakMaps(
        *(
            pixels if name == "peak_pixels" else _values(name, field)
            for name, field in zip(PeakMaps._fields, peaks)
        )
    )
    k, m = (num_keypoints, *fields.peak_scores.shape[1:2], 0)[:2]
    tags = max(len(fields.peak_tags) if fields.peak_tags.ndim else 0, 1)
    expected = PeakMaps((k, m), (k, m), (k, m, 4), (k, m, 9), (tags, k, m, 9))
    for name, field, shape in zip(PeakMaps._fields, fields, expected):
        if field.shape != shape:
            raise ValueError(f"{name}: expected shape {shape} with K = {k}, got {field.shape}")
        if name != "peak_pixels":
            _check_size(name, field)
    low, high = (pixels.min(), pixels.max()) if pixels.size else (0, 0)
    if low < 0 or high >= num_pixels:
        raise ValueError(
            f"peak_pixels: expected 0 to {num_pixels - 1}, the pixels of the finest heatmap, got {low} to {high}"
        )
    return fields._replace(peak_pixels=pixels.astype(np.int64))


def checked_wh(input_wh: Any) -> Tuple[int, int]:
    """Return width and height of the network input as ints.

    Raises:
        ValueError: They are not two multiples of 4, px.
    """
    sides = np.asarray(input_wh)
    if sides.shape != (2,) or sides.dtype.kind not in "iu" or (sides < 4).any() or (sides % 4).any():
        raise ValueError(f"input_wh: expected width and height, two multiples of 4, got {input_wh!r}")
    return int(sides[0]), int(sides[1])


def _values(name: str, values: Any) -> np.ndarray:
    """Return an array of numbers as contiguous float32; what float32 cannot hold becomes infinity."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected an array of numbers, got one of {array.dtype}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32, order="C", copy=False)


def _check_size(name: str, array: np.ndarray) -> None:
    """Raise ValueError unless all values of a float32 array are at most ``LARGEST`` in size."""
    # One pass: OpenCV sums the squares in float64. What this leaves open is decided exactly.
    if not array.size or cv2.norm(array.reshape(-1, array.shape[-1]), cv2.NORM_L2SQR) <= LARGEST**2:
        return
    if not all_finite(array):
        raise ValueError(f"{name} contains NaN or infinity: the network's output is broken")
    largest = float(np.abs(array).max())
    if largest > LARGEST:
        raise ValueError(
            f"{name} contains {largest:.3g}, expected values up to {LARGEST:g}: the network's output is broken"
        )


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
