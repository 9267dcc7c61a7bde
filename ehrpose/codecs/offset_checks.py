"""Checks of what is given to the PersonLab codec. Axes: K keypoint types, E edges, M candidates of a type."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import cv2
import numpy as np

from ehrpose.codecs.argument_checks import LARGEST
from ehrpose.codecs.heatmap import resize_maps
from ehrpose.structures import OffsetMaps, PeoplePeaks


def checked_offset_maps(num_keypoints: int, num_edges: int, maps: Any) -> OffsetMaps:
    """Return the maps of one image as contiguous float32 arrays, without the long offsets.

    Raises:
        ValueError: A map is missing or has the wrong shape, or contains NaN, infinity or values beyond 1e15.
    """
    if not isinstance(maps, OffsetMaps):
        raise ValueError(f"expected OffsetMaps, got {type(maps).__name__}")
    heat = _checked("heat", maps.heat)
    if heat.ndim != 3 or len(heat) != num_keypoints or not heat.size:
        raise ValueError(f"heat: expected shape ({num_keypoints}, h, w), got {heat.shape}")
    fields = {"heat": heat}
    for name, count in (("short", num_keypoints), ("forward", num_edges), ("backward", num_edges)):
        field = fields[name] = _checked(name, getattr(maps, name))
        if field.shape != (2 * count, *heat.shape[1:]):
            raise ValueError(f"{name}: expected shape {(2 * count, *heat.shape[1:])}, got {field.shape}")
    return OffsetMaps(**fields)


def checked_poses(num_keypoints: int, peaks: Any) -> Tuple[np.ndarray, np.ndarray]:
    """Return (K, M) logits and (K, M, K, 3) poses of one image as float32 arrays.

    Raises:
        ValueError: A field has the wrong shape, or contains NaN, infinity or values beyond 1e15.
    """
    if not isinstance(peaks, PeoplePeaks):
        raise ValueError(f"expected PeoplePeaks, got {type(peaks).__name__}")
    logits, poses = (_checked(name, field) for name, field in zip(peaks._fields, peaks))
    k, m = (num_keypoints, *logits.shape[1:2], 0)[:2]
    for name, field, shape in (("root_logits", logits, (k, m)), ("root_poses", poses, (k, m, k, 3))):
        if field.shape != shape:
            raise ValueError(f"{name}: expected shape {shape} with K = {k}, got {field.shape}")
    return logits, poses


def mean_of_offset_scales(scales: Sequence[OffsetMaps]) -> OffsetMaps:
    """Return the mean of the maps of several test scales at the size of the first; offsets are scaled with the input.

    Raises:
        ValueError: There are none.
    """
    if not scales:
        raise ValueError("expected the maps of at least one scale, got none")
    if len(scales) == 1:
        return scales[0]
    height, width = scales[0].heat.shape[1:]
    fields = []
    for name in ("heat", "short", "forward", "backward"):
        resized = []
        for scale in scales:
            field = resize_maps(getattr(scale, name), (width, height), True)
            if name != "heat":
                rows, columns = scale.heat.shape[1:]
                factors = np.ones((2, len(field) // 2, 1, 1), np.float32)
                factors[0] *= (height - 1) / max(rows - 1, 1)
                factors[1] *= (width - 1) / max(columns - 1, 1)
                field = field * factors.reshape(-1, 1, 1)
            resized.append(field)
        fields.append(np.mean(resized, axis=0, dtype=np.float32))
    return OffsetMaps(*fields)


def _checked(name: str, values: Any) -> np.ndarray:
    """Return an array of numbers as contiguous float32."""
    if values is None:
        raise ValueError(f"expected the map {name}, got none")
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{name}: expected an array of numbers, got one of {array.dtype}")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32, order="C", copy=False)
    # One pass: OpenCV sums the squares in float64. What this leaves open is decided exactly.
    if not array.size or cv2.norm(array.reshape(-1, array.shape[-1]), cv2.NORM_L2SQR) <= LARGEST**2:
        return array
    largest = float(np.abs(array).max())
    if largest <= LARGEST:
        return array
    got = f"{largest:.3g}" if np.isfinite(largest) else "NaN or infinity"
    raise ValueError(f"{name} contains {got}: the network's output is broken")
