"""Segmentations of a COCO JSON: polygons and run-length masks, checked when the file is read.

Source of the compressed form: ``rleFrString`` of pycocotools' maskApi.c.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ehrpose.datasets.json_values import are_finite, shown

_FORM = "a list of polygons x0, y0, x1, y1, ..."


def clean_segmentation(value: Any, size: tuple[int, int]) -> Any:
    """Return a segmentation as a list of flat polygons of at least three points, or a run-length mask.

    A flat list of numbers is taken as one polygon, and lists of x, y pairs are flattened. Polygons of fewer than three
    points are left out.

    Args:
        value: The segmentation as stored; None: none.
        size: (width, height) of the photo, px; 0: unknown.

    Raises:
        ValueError: It is none of these forms, or the mask does not fill the photo.
    """
    if value is None:
        return []
    if isinstance(value, Mapping):
        return _run_lengths(value, size)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"expected {_FORM} or a run-length mask as 'segmentation', got {shown(value)}")
    is_flat = len(value) > 0 and not any(isinstance(part, (list, tuple)) for part in value)
    is_one = is_flat or (len(value) > 2 and all(map(_is_pair, value)))
    polygons = [_polygon(part) for part in ([value] if is_one else value)]
    return [polygon for polygon in polygons if len(polygon) >= 6]


def _polygon(part: Any) -> list[float]:
    """Return a polygon as a flat list."""
    polygon = part
    if isinstance(part, (list, tuple)) and part and all(map(_is_pair, part)):
        polygon = [number for pair in part for number in pair]
    if not isinstance(polygon, (list, tuple)) or not are_finite(polygon):
        raise ValueError(f"expected {_FORM} as 'segmentation', got the polygon {shown(part)}")
    if len(polygon) >= 6 and len(polygon) % 2:
        raise ValueError(
            f"expected {_FORM} as 'segmentation', got {len(polygon)} numbers, which are not pairs"
        )
    return list(polygon)


def _is_pair(part: Any) -> bool:
    return isinstance(part, (list, tuple)) and len(part) == 2 and are_finite(part)


def _run_lengths(mask: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    sides = mask.get("size")
    is_size = (
        isinstance(sides, (list, tuple)) and len(sides) == 2 and all(type(s) is int and s > 0 for s in sides)
    )
    wanted = [size[1], size[0]] if size[0] and size[1] else None
    if "counts" not in mask or not is_size or (wanted is not None and list(sides or ()) != wanted):
        raise ValueError(
            f"expected an RLE with 'counts' and 'size' {wanted or ''} [height, width], got the keys "
            f"{sorted(map(str, mask))} and the size {shown(sides)}"
        )
    counts = mask["counts"]
    lengths = decoded(counts) if isinstance(counts, str) else counts
    if not isinstance(lengths, (list, tuple)) or not all(type(n) is int and n >= 0 for n in lengths):
        raise ValueError(
            f"expected RLE counts as a list of run lengths or pycocotools' text, got {shown(counts)}"
        )
    height, width = sides  # type: ignore[misc]
    if sum(lengths) != height * width:
        raise ValueError(
            f"expected RLE counts that add up to {height} * {width} = {height * width} px, got {sum(lengths)} px"
        )
    return dict(mask)


def decoded(text: str) -> list[int] | None:
    """Return the run lengths of pycocotools' compressed text, or None if it is not one."""
    counts: list[int] = []
    value = shift = 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 50:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return None if shift else counts


def run_lengths_of(mask: Mapping[str, Any]) -> list[int]:
    """Return the run lengths of a checked mask, column by column, background first."""
    counts = mask["counts"]
    return (decoded(counts) or []) if isinstance(counts, str) else list(counts)


def mask_area(segmentation: Any) -> float:
    """Return the area of a checked segmentation, px^2; 0 if it is empty."""
    if isinstance(segmentation, Mapping):
        return float(sum(run_lengths_of(segmentation)[1::2]))
    total = 0.0
    for polygon in segmentation:
        x, y = np.reshape(np.asarray(polygon, np.float64), (-1, 2)).T
        total += abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
    return total


def mask_points(segmentation: Any) -> np.ndarray:
    """Return (P, 2) x, y px whose bounding box is that of a checked segmentation; empty if it is empty."""
    if not isinstance(segmentation, Mapping):
        return np.concatenate([np.zeros((0, 2)), *(np.reshape(p, (-1, 2)) for p in segmentation)])
    height, _ = segmentation["size"]
    ends = np.cumsum(run_lengths_of(segmentation))
    points = []
    for start, stop in zip(ends[0::2], ends[1::2]):
        if stop > start:
            first, last = start // height, (stop - 1) // height
            # A run over several columns may touch both the top and the bottom.
            top, bottom = (start % height, (stop - 1) % height + 1) if first == last else (0, height)
            points += [(first, top), (last + 1, bottom)]
    return np.array(points, np.float64).reshape(-1, 2)
