"""Numba loops that search input-sized maps for a person's keypoint, bit-identical to ``tag_search``.

Axes: K keypoint types, T tag length, F searches.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

from ehrpose.codecs.compiled.upsampled_kernels import (
    LOW4,
    PAD,
    ROUNDING,
    WEIGHT4,
    compiled,
    greatest,
    pixel,
    raise_to,
    rows,
)

TILE = 32  # side of a search tile, input px
ROUND = 2.0**52  # from here on all float64 are whole numbers: adding it rounds


@compiled
def best_by_tag(
    coarse: np.ndarray, fine: np.ndarray, tags: np.ndarray, types: np.ndarray, person_tags: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Return y and x of each search: ``find_upsampled_by_tag``.

    The tile with the highest bound is searched first, then all that may contain a better pixel.

    Args:
        coarse: (K, h, w) float32 heatmaps.
        fine: (K, 2h, 2w) float32 heatmaps.
        tags: (T * K, h, w).
        types: (F,).
        person_tags: (F, T) float64.
    """
    num_types, height, width = coarse.shape
    num_tags = person_tags.shape[1]
    ys, xs = np.empty(len(types), np.int64), np.empty(len(types), np.int64)
    plane = np.empty((4 * height + 2 * PAD, 4 * width + 2 * PAD), np.float32)
    scratch = np.empty(2 * width + 8, np.float32)
    shape = (4 * height + TILE - 1) // TILE, (4 * width + TILE - 1) // TILE
    high = np.empty(shape, np.float32)
    limits = np.empty((num_tags, 2, *shape), np.float32)
    reached, cost = np.empty(high.size), np.empty(high.size)
    block_high = np.empty((height, width), np.float32)
    block_limits = np.empty((num_tags, 2, height, width), np.float32)
    previous = -1
    for search in np.argsort(types, kind="mergesort"):
        k = types[search]
        if k != previous:
            previous = k
            for by in range(height):
                rows(coarse[k], fine[k], by, 0, width - 1, scratch, plane)
            _maxima_of_squares(plane, 4, block_high)
            _maxima_of_squares(plane, TILE, high)
            for t in range(num_tags):
                _limits(tags[t * num_types + k], 1, block_limits[t])
                _limits(tags[t * num_types + k], TILE // 4, limits[t])
        tag = person_tags[search]
        most = _reach(high.reshape(-1), limits.reshape(num_tags, 2, -1), tag, cost, reached)
        ys[search], xs[search] = _best_pixel(
            plane, tags, k, num_types, tag, block_high, block_limits, shape[1], reached, most
        )
    return ys, xs


@compiled
def _best_pixel(
    plane: np.ndarray, tags: np.ndarray, k: int, num_types: int, person_tag: np.ndarray,
    block_high: np.ndarray, block_limits: np.ndarray, columns: int, reached: np.ndarray, most: int,
) -> Tuple[int, int]:  # fmt: skip
    height, width = block_high.shape
    row = 4 * width
    side = TILE // 4
    best, best_at = -np.inf, 0
    for turn in range(-1, reached.size):  # the most promising tile, then all that may contain a better pixel
        tile = most if turn < 0 else turn
        if reached[tile] < best or turn == most:
            continue
        top, left = side * (tile // columns), side * (tile % columns)
        for by in range(top, min(top + side, height)):
            for bx in range(left, min(left + side, width)):
                squares = 0.0
                for t in range(len(person_tag)):
                    low, high, tag = block_limits[t, 0, by, bx], block_limits[t, 1, by, bx], person_tag[t]
                    slack = ROUNDING * (1 + abs(low) + abs(high) + abs(tag))
                    outside = max(low - tag, tag - high) - slack
                    squares += outside * outside if outside > 0 else 0.0
                bound = block_high[by, bx] - _round(np.sqrt(squares))
                corner = 4 * by * row + 4 * bx
                if bound < best or (bound == best and corner > best_at):
                    continue
                for y in range(4 * by, 4 * by + 4):
                    for x in range(4 * bx, 4 * bx + 4):
                        squares = 0.0
                        for t in range(len(person_tag)):
                            tag = pixel(tags[t * num_types + k], 1, LOW4, WEIGHT4, y, x)
                            difference = tag - person_tag[t]
                            squares += difference * difference
                        value = plane[PAD + y, PAD + x] - _round(np.sqrt(squares))
                        if value > best or (value == best and y * row + x < best_at):
                            best, best_at = value, y * row + x
    return best_at // row, best_at % row


@compiled
def _round(value: float) -> float:
    """Round a float64 of at least 0, half to even; np.rint would be a call here, which is not vectorised."""
    return value if value >= ROUND else (value + ROUND) - ROUND


@compiled
def _maxima_of_squares(plane: np.ndarray, side: int, out: np.ndarray) -> None:
    """Write the maximum of each square of ``side`` pixels of a padded plane."""
    height, width = plane.shape[0] - 2 * PAD, plane.shape[1] - 2 * PAD
    line = np.empty(width, np.float32)
    for ty in range(out.shape[0]):
        line[:] = plane[PAD + side * ty, PAD : PAD + width]
        for y in range(side * ty + 1, min(side * ty + side, height)):
            raise_to(line, plane[PAD + y, PAD : PAD + width])
        row = out[ty]
        if side == 4:  # always divides the input
            for tx in range(row.size):
                left = greatest(line[4 * tx], line[4 * tx + 1])
                row[tx] = greatest(left, greatest(line[4 * tx + 2], line[4 * tx + 3]))
            continue
        for tx in range(row.size):
            value = line[side * tx]
            for x in range(side * tx + 1, min(side * tx + side, width)):
                value = greatest(value, line[x])
            row[tx] = value


@compiled
def _limits(tags: np.ndarray, side: int, out: np.ndarray) -> None:
    """Write the lowest and the highest tag of each square of ``side`` map pixels plus a margin of one."""
    height, width = tags.shape
    low, high = np.empty(width, np.float32), np.empty(width, np.float32)
    for ty in range(out.shape[1]):
        low[:], high[:] = tags[side * ty], tags[side * ty]
        for y in range(max(side * ty - 1, 0), min(side * ty + side + 1, height)):
            raise_to(high, tags[y])
            _lower_to(low, tags[y])
        lowest, highest = out[0, ty], out[1, ty]
        if side == 1 and width > 1:
            for x in range(1, width - 1):
                least = low[x - 1] if low[x - 1] < low[x] else low[x]
                lowest[x] = least if least < low[x + 1] else low[x + 1]
                most = high[x - 1] if high[x - 1] > high[x] else high[x]
                highest[x] = most if most > high[x + 1] else high[x + 1]
            lowest[0], highest[0] = min(low[0], low[1]), max(high[0], high[1])
            lowest[width - 1] = min(low[width - 2], low[width - 1])
            highest[width - 1] = max(high[width - 2], high[width - 1])
            continue
        for tx in range(lowest.size):
            first, last = max(side * tx - 1, 0), min(side * tx + side + 1, width)
            least, most = low[first], high[first]
            for x in range(first + 1, last):
                least, most = min(least, low[x]), max(most, high[x])
            lowest[tx], highest[tx] = least, most


@compiled
def _lower_to(line: np.ndarray, values: np.ndarray) -> None:
    for x in range(values.size):
        line[x] = values[x] if values[x] < line[x] else line[x]


@compiled
def _reach(
    high: np.ndarray, limits: np.ndarray, person_tag: np.ndarray, cost: np.ndarray, out: np.ndarray
) -> int:
    """Write the upper bound of each tile: ``high`` minus the rounded distance of its tags from the person's.

    Args:
        high: (N,) highest values.
        limits: (T, 2, N) lowest and highest tags.
        person_tag: (T,) float64.
        cost: (N,) float64, written: lower bounds of the rounded distance.
        out: (N,) float64, written.

    Returns:
        The tile with the highest bound.
    """
    if len(person_tag) == 1:
        tag = person_tag[0]
        low, top = limits[0, 0], limits[0, 1]
        for i in range(cost.size):
            outside = max(low[i] - tag, tag - top[i]) - ROUNDING * (1 + abs(low[i]) + abs(top[i]) + abs(tag))
            cost[i] = _round(max(outside, 0.0))
    else:
        cost[:] = 0
        for t in range(len(person_tag)):
            tag = person_tag[t]
            low, top = limits[t, 0], limits[t, 1]
            for i in range(cost.size):
                outside = max(low[i] - tag, tag - top[i]) - ROUNDING * (
                    1 + abs(low[i]) + abs(top[i]) + abs(tag)
                )
                cost[i] += outside * outside if outside > 0 else 0.0
        for i in range(cost.size):
            cost[i] = _round(np.sqrt(cost[i]))
    for i in range(cost.size):
        out[i] = high[i] - cost[i]
    most = 0
    for i in range(cost.size):
        if out[i] > out[most]:
            most = i
    return most
