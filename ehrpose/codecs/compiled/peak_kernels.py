"""Numba loops that find the peaks of heatmaps, bit-identical to ``heatmap._local_maxima``.

Axes: K keypoint types, H rows, W columns.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from ehrpose.codecs.compiled.vector_max import LOWEST, greater

compiled = njit(cache=True, nogil=True)


@compiled
def local_maxima(heatmaps: np.ndarray, reach: int, min_score: np.float32) -> np.ndarray:
    """Return the flat indices, ascending, of the local maxima: ``heatmap._local_maxima``.

    Args:
        heatmaps: (K, H, W) float32, finite.
        reach: No pixel within this distance in x and y exceeds a maximum; at least 1.
        min_score: Only values above it count.
    """
    num_types, height, width = heatmaps.shape
    marks = np.zeros((width + 7) // 8 * 8, np.bool_)
    eights = marks.view(np.uint64)
    found = np.empty(1024 + width, np.int64)
    count = 0
    for k in range(num_types):
        for y in range(height):
            if not _highest(heatmaps[k, y]) > min_score:
                continue
            _mark(heatmaps, k, y, min_score, marks)
            if count + width > found.size:
                longer = np.empty(8 * found.size, np.int64)
                longer[:count] = found[:count]
                found = longer
            count = _collect(marks, eights, heatmaps, k, y, reach, found, count)
    return found[:count]


@compiled
def _collect(
    marks: np.ndarray, eights: np.ndarray, heatmaps: np.ndarray, k: int, y: int, reach: int,
    found: np.ndarray, count: int,
) -> int:  # fmt: skip
    """Append the flat indices of a row's marks to the first ``count`` found; return their number."""
    _, height, width = heatmaps.shape
    for i in range(eights.size):
        if eights[i] == 0:  # as of most
            continue
        for x in range(8 * i, 8 * i + 8):
            if marks[x] and (reach == 1 or _is_highest(heatmaps, k, y, x, reach)):
                found[count] = (k * height + y) * width + x
                count += 1
    return count


@compiled
def _highest(values: np.ndarray) -> np.float32:
    highest = LOWEST
    for x in range(values.size):
        highest = greater(values[x], highest)
    return highest


@compiled
def _mark(heatmaps: np.ndarray, k: int, y: int, min_score: np.float32, marks: np.ndarray) -> None:
    """Mark the pixels of a row above ``min_score`` that no direct neighbour exceeds."""
    _, height, width = heatmaps.shape
    row, above, below = heatmaps[k, y], heatmaps[k, max(y - 1, 0)], heatmaps[k, min(y + 1, height - 1)]
    inner = marks[1 : width - 1]
    for x in range(inner.size):
        value = row[x + 1]
        beside = greater(greater(row[x], row[x + 2]), greater(above[x + 1], below[x + 1]))
        corners = greater(greater(above[x], above[x + 2]), greater(below[x], below[x + 2]))
        inner[x] = (value > min_score) & (value >= greater(beside, corners))
    for x in (0, width - 1):
        marks[x] = row[x] > min_score and _is_highest(heatmaps, k, y, x, 1)


@compiled
def _is_highest(heatmaps: np.ndarray, k: int, y: int, x: int, reach: int) -> bool:
    value = heatmaps[k, y, x]
    for to_y in range(max(y - reach, 0), min(y + reach + 1, heatmaps.shape[1])):
        for to_x in range(max(x - reach, 0), min(x + reach + 1, heatmaps.shape[2])):
            if heatmaps[k, to_y, to_x] > value:
                return False
    return True
