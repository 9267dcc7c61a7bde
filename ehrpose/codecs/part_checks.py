"""Checks of what is given to the part-affinity codec. Axes: P parts, L limbs, M candidates of a part."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np

from ehrpose.codecs.argument_checks import LARGEST
from ehrpose.codecs.heatmap import resize_maps
from ehrpose.structures import FieldMaps, FieldPeaks


def checked_field_maps(num_parts: int, num_limbs: int, maps: Any) -> FieldMaps:
    """Return the maps of one image as float32 arrays.

    Raises:
        ValueError: A map has the wrong shape, or contains NaN, infinity or values beyond 1e15.
    """
    if not isinstance(maps, FieldMaps):
        raise ValueError(f"expected FieldMaps, got {type(maps).__name__}")
    heat, field = (checked_values(name, value) for name, value in zip(maps._fields, maps))
    if heat.ndim != 3 or len(heat) != num_parts + 1 or not heat.size:
        raise ValueError(f"heat: expected shape ({num_parts + 1}, h, w), got {heat.shape}")
    if field.shape != (2 * num_limbs, *heat.shape[1:]):
        raise ValueError(f"field: expected shape {(2 * num_limbs, *heat.shape[1:])}, got {field.shape}")
    return FieldMaps(heat, field)


def mean_of_scales(scales: Sequence[FieldMaps]) -> FieldMaps:
    """Return the mean of the maps of several test scales at the size of the first.

    Raises:
        ValueError: There are none.
    """
    if not scales:
        raise ValueError("expected the maps of at least one scale, got none")
    if len(scales) == 1:
        return scales[0]
    size_wh = scales[0].heat.shape[:0:-1]
    return FieldMaps(
        *(np.mean([resize_maps(one, size_wh, False) for one in levels], axis=0) for levels in zip(*scales))
    )


def checked_field_peaks(
    num_parts: int, num_limbs: int, peaks: FieldPeaks, map_wh: Tuple[int, int]
) -> FieldPeaks:
    """Return the candidates of one image as arrays, float32 but for int64 pixels.

    Raises:
        ValueError: A field has the wrong shape or type, a value is out of range, NaN or infinite.
    """
    pixels = np.asarray(peaks.part_pixels)
    if pixels.dtype.kind not in "iu":
        raise ValueError(f"part_pixels: expected whole numbers, got an array of {pixels.dtype}")
    arrays: List[np.ndarray] = [
        pixels if name == "part_pixels" else checked_values(name, value)
        for name, value in zip(FieldPeaks._fields, peaks)
    ]
    scores = arrays[0]
    p, m = num_parts, scores.shape[1] if scores.ndim == 2 else 0
    expected = FieldPeaks((p, m), (p, m), (p, m, 4), (num_limbs, m, m), (num_limbs, m, m))
    for name, array, shape in zip(FieldPeaks._fields, arrays, expected):
        if array.shape != shape:
            raise ValueError(
                f"{name}: expected shape {shape} with P = {p}, L = {num_limbs}, got {array.shape}"
            )
    low, high = (pixels.min(), pixels.max()) if pixels.size else (0, 0)
    size = map_wh[0] * map_wh[1]
    if low < 0 or high >= size:
        raise ValueError(f"part_pixels: expected 0 to {size - 1}, the pixels of the map, got {low} to {high}")
    return FieldPeaks(*arrays)._replace(part_pixels=pixels.astype(np.int64))


def checked_values(name: str, values: Any) -> np.ndarray:
    """Return an array of numbers as contiguous float32.

    Raises:
        ValueError: It holds something else, NaN, infinity, or values beyond 1e15.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected an array of numbers, got one of {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, order="C", copy=False)
    largest = max(float(array.max(initial=0)), -float(array.min(initial=0)))  # NaN stays NaN
    if not largest <= LARGEST:
        raise ValueError(
            f"{name}: expected values up to {LARGEST:g}, got NaN, infinity or {largest:.3g}: the network's output is "
            "broken"
        )
    return array
