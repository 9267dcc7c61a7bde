"""Numba loops over maps at the size of the network input, bit-identical to ``upsampling``.

Blocks are 4 x 4 input pixels, one for each pixel of the stride-4 map. ``fine`` is (C, 2h, 2w), or (C, 0, 0) without
a stride-2 level. K is the number of keypoint types.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True)
PAD = 4  # of a plane of values, on every side; for peaks, what is not computed is -inf
# Interpolated float32 values exceed the largest of their neighbours by less than this fraction of it.
ROUNDING = 1e-6

# The map pixel before each of a block's four pixels, relative to the block, and the weight of the one after.
LOW4 = np.array([-1, -1, 0, 0])
WEIGHT4 = np.array([0.625, 0.875, 0.125, 0.375], np.float32)
LOW2 = np.array([-1, 0, 0, 1])
WEIGHT2 = np.array([0.75, 0.25, 0.75, 0.25], np.float32)
HALF = np.float32(2)


@compiled
def _clip(value: int, size: int) -> int:
    return min(max(value, 0), size - 1)


@compiled
def _between(
    level: np.ndarray, top: int, bottom: int, weight: np.float32, first: int, out: np.ndarray
) -> None:
    """Write the values between two rows of a map, from column ``first`` on, clamped to the map."""
    width = level.shape[1]
    low, high = max(first, 0), min(first + out.size, width)
    upper, lower, inner = level[top, low:high], level[bottom, low:high], out[low - first : high - first]
    for x in range(upper.size):
        inner[x] = upper[x] + weight * (lower[x] - upper[x])
    for x in range(low - first):
        out[x] = inner[0]
    for x in range(high - first, out.size):
        out[x] = inner[inner.size - 1]


@compiled
def _row_of_coarse(level: np.ndarray, y: int, first: int, line: np.ndarray, out: np.ndarray) -> None:
    """Write row ``y`` of the input, from block ``first`` on; ``line`` is scratch, blocks of ``out`` plus 2 values."""
    i = y % 4
    at = y // 4 + LOW4[i]
    _between(level, _clip(at, level.shape[0]), _clip(at + 1, level.shape[0]), WEIGHT4[i], first - 1, line)
    for b in range(out.size // 4):
        left, middle, right = line[b], line[b + 1], line[b + 2]
        before, after = middle - left, right - middle
        out[4 * b] = left + WEIGHT4[0] * before
        out[4 * b + 1] = left + WEIGHT4[1] * before
        out[4 * b + 2] = middle + WEIGHT4[2] * after
        out[4 * b + 3] = middle + WEIGHT4[3] * after


@compiled
def _add_row_of_fine(level: np.ndarray, y: int, first: int, line: np.ndarray, out: np.ndarray) -> None:
    """Average ``out`` with the row, in place; ``line`` is scratch, twice the blocks of ``out`` plus 2."""
    i = y % 4
    at = 2 * (y // 4) + LOW2[i]
    _between(level, _clip(at, level.shape[0]), _clip(at + 1, level.shape[0]), WEIGHT2[i], 2 * first - 1, line)
    for b in range(out.size // 4):
        v0, v1, v2, v3 = line[2 * b], line[2 * b + 1], line[2 * b + 2], line[2 * b + 3]
        out[4 * b] = (out[4 * b] + (v0 + WEIGHT2[0] * (v1 - v0))) / HALF
        out[4 * b + 1] = (out[4 * b + 1] + (v1 + WEIGHT2[1] * (v2 - v1))) / HALF
        out[4 * b + 2] = (out[4 * b + 2] + (v1 + WEIGHT2[2] * (v2 - v1))) / HALF
        out[4 * b + 3] = (out[4 * b + 3] + (v2 + WEIGHT2[3] * (v3 - v2))) / HALF


@compiled
def rows(coarse: np.ndarray, fine: np.ndarray, by: int, first: int, last: int, scratch: np.ndarray,
          plane: np.ndarray) -> None:  # fmt: skip
    """Write the values of blocks ``first`` to ``last`` of block row ``by`` into the padded plane."""
    number = last - first + 1
    for y in range(4 * by, 4 * by + 4):
        out = plane[PAD + y, PAD + 4 * first : PAD + 4 * last + 4]
        _row_of_coarse(coarse, y, first, scratch[: number + 2], out)
        if fine.size:
            _add_row_of_fine(fine, y, first, scratch[: 2 * number + 2], out)


@compiled
def pixel(level: np.ndarray, step: int, low: np.ndarray, weight: np.ndarray, y: int, x: int) -> np.float32:
    """Return the value of one pixel of the input, from a level with ``step`` map pixels per block."""
    height, width = level.shape
    first_y, first_x = step * (y // 4) + low[y % 4], step * (x // 4) + low[x % 4]
    top, bottom = _clip(first_y, height), _clip(first_y + 1, height)
    left, right = _clip(first_x, width), _clip(first_x + 1, width)
    near = level[top, left] + weight[y % 4] * (level[bottom, left] - level[top, left])
    far = level[top, right] + weight[y % 4] * (level[bottom, right] - level[top, right])
    return near + weight[x % 4] * (far - near)


@compiled
def peaks(
    coarse: np.ndarray, fine: np.ndarray, reach: int, min_score: np.float32
) -> Tuple[np.ndarray, np.ndarray]:
    """Return the flat indices of the peaks, ascending, and their values: ``find_upsampled_peaks``.

    Args:
        coarse: (K, h, w) float32.
        fine: (K, 2h, 2w) float32.
        reach: No pixel within this distance in x and y exceeds a peak; at most PAD.
        min_score: Only values above it count.
    """
    num_types, height, width = coarse.shape
    plane = np.full((4 * height + 2 * PAD, 4 * width + 2 * PAD), -np.inf, np.float32)
    high = np.empty((height, width), np.float32)
    scratch = np.empty((2, 2 * width + 8), np.float32)
    most = height * ((width + 1) // 2)
    runs = np.empty((most, 3), np.int64)
    found, values = np.empty(256, np.int64), np.empty(256, np.float32)
    count = 0
    for k in range(num_types):
        _upper_bounds(coarse[k], fine[k], scratch, high)
        num_runs = _runs_over(high, min_score, runs)
        for r in range(num_runs):
            rows(coarse[k], fine[k], runs[r, 0], runs[r, 1], runs[r, 2], scratch[0], plane)
        start = 0
        while start < num_runs:
            stop = start  # the runs of one row of blocks
            while stop < num_runs and runs[stop, 0] == runs[start, 0]:
                stop += 1
            for y in range(4 * runs[start, 0], 4 * runs[start, 0] + 4):
                row = plane[PAD + y]
                for r in range(start, stop):
                    for x in range(PAD + 4 * runs[r, 1], PAD + 4 * runs[r, 2] + 4):
                        value = row[x]
                        if not value > min_score or row[x - 1] > value or row[x + 1] > value:
                            continue
                        if not _is_highest(plane, PAD + y, x, reach):
                            continue
                        if count == found.size:
                            found, values = np.append(found, found), np.append(values, values)
                        found[count] = (k * 4 * height + y) * 4 * width + x - PAD
                        values[count] = value
                        count += 1
            start = stop
        for r in range(num_runs):
            top, left, right = PAD + 4 * runs[r, 0], PAD + 4 * runs[r, 1], PAD + 4 * runs[r, 2] + 4
            plane[top : top + 4, left:right] = -np.inf
    return found[:count], values[:count]


@compiled
def _is_highest(plane: np.ndarray, y: int, x: int, reach: int) -> bool:
    value = plane[y, x]
    for to_y in range(y - reach, y + reach + 1):
        for to_x in range(x - reach, x + reach + 1):
            if plane[to_y, to_x] > value:
                return False
    return True


@compiled
def _runs_over(high: np.ndarray, min_score: np.float32, runs: np.ndarray) -> int:
    """Write row, first and last column of each run of blocks above ``min_score``; return their number."""
    height, width = high.shape
    number = 0
    for by in range(height):
        row = high[by]
        over = 0
        for bx in range(width):
            over += row[bx] > min_score
        if not over:
            continue
        inside = False
        for bx in range(width):
            if row[bx] > min_score:
                if not inside:
                    runs[number, 0], runs[number, 1] = by, bx
                    number += 1
                runs[number - 1, 2] = bx
                inside = True
            else:
                inside = False
    return number


@compiled
def _upper_bounds(coarse: np.ndarray, fine: np.ndarray, scratch: np.ndarray, out: np.ndarray) -> None:
    """Write the upper bound of each block."""
    height, width = coarse.shape
    scale = np.float32(1)
    for by in range(height):
        row, line = out[by], scratch[0, : width + 2]
        line[:] = -np.inf
        for y in range(max(by - 1, 0), min(by + 2, height)):
            raise_to(line[1:], coarse[y])
        for bx in range(width):
            row[bx] = greatest(greatest(line[bx], line[bx + 1]), line[bx + 2])
        if fine.size:
            line = scratch[1, : 2 * width + 2]
            line[:] = -np.inf
            for y in range(max(2 * by - 1, 0), min(2 * by + 3, 2 * height)):
                raise_to(line[1:], fine[y])
            for bx in range(width):
                left = greatest(line[2 * bx], line[2 * bx + 1])
                right = greatest(line[2 * bx + 2], line[2 * bx + 3])
                row[bx] = (row[bx] + greatest(left, right)) / HALF
        for bx in range(width):
            scale = greatest(scale, abs(row[bx]))
    out += np.float32(2 * ROUNDING) * scale


@compiled
def greatest(a: np.float32, b: np.float32) -> np.float32:
    """Return the maximum, in a form that the compiler vectorises."""
    return a if a > b else b


@compiled
def raise_to(line: np.ndarray, values: np.ndarray) -> None:
    """Raise ``line`` to at least ``values``, in place."""
    for x in range(values.size):
        line[x] = values[x] if values[x] > line[x] else line[x]
