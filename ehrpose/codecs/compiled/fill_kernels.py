"""Numba loops that search around each person for missing keypoints, bit-identical to ``fast_decoding.fill_nearby``.

A block's bound is its highest heat minus the rounded distance of the person's tag from the range of the block's tags.
The same float32 operations on a larger heat and a smaller distance never yield less, so skipping blocks by this bound
is exact. Axes: K keypoint types, T tag length, N people, F searches.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit

from ehrpose.codecs.compiled.upsampled_kernels import compiled, greatest

SIDE = 8  # side of a block, map pixels
ROUND = np.float32(2.0**23)  # from here on all float32 are whole numbers: adding it rounds


@compiled
def best_in_windows(
    heat: np.ndarray,
    tags: np.ndarray,
    person_tags: np.ndarray,
    owners: np.ndarray,
    types: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
    """Return y and x of the highest ``heat - round(tag distance)`` of each search: ``fast_decoding._best_in_windows``.

    Args:
        heat: (K, H, W) float32.
        tags: (T, K, H, W) float32.
        person_tags: (N, T) float32.
        owners: (F,) person of each search.
        types: (F,) keypoint type of each search.
        low: (N, 2) first x and y of each person's window.
        high: (N, 2) last x and y plus one.
    """
    num_tags, _, height, width = tags.shape
    ys, xs = np.empty(len(owners), np.int64), np.empty(len(owners), np.int64)
    shape = (height + SIDE - 1) // SIDE, (width + SIDE - 1) // SIDE
    highest = np.empty(shape, np.float32)
    limits = np.empty((2, num_tags, *shape), np.float32)
    bounds = np.empty(shape, np.float32)
    lines = np.empty((2, width), np.float32)
    previous = -1
    for i in np.argsort(types, kind="mergesort"):
        n, k = owners[i], types[i]
        if k != previous:
            previous = k
            _block_limits(heat[k], lines, bounds, highest)
            for t in range(num_tags):
                _block_limits(tags[t, k], lines, limits[0, t], limits[1, t])
        ys[i], xs[i] = _best_in_window(
            heat[k], tags[:, k], person_tags[n], low[n], high[n], highest, limits, bounds
        )
    return ys, xs


@compiled
def _best_in_window(
    heat: np.ndarray, tags: np.ndarray, person_tag: np.ndarray, low: np.ndarray, high: np.ndarray,
    highest: np.ndarray, limits: np.ndarray, bounds: np.ndarray,
) -> Tuple[int, int]:  # fmt: skip
    width = heat.shape[1]
    left, top, right, bottom = low[0], low[1], high[0], high[1]
    first_bx, last_bx, first_by, last_by = (
        left // SIDE,
        (right - 1) // SIDE,
        top // SIDE,
        (bottom - 1) // SIDE,
    )
    most, most_by, most_bx = np.float32(-np.inf), first_by, first_bx
    for by in range(first_by, last_by + 1):
        row = bounds[by, first_bx : last_bx + 1]
        _row_of_bounds(
            highest[by, first_bx : last_bx + 1], limits[:, :, by, first_bx : last_bx + 1], person_tag, row
        )
        for i in range(row.size):
            if row[i] > most:
                most, most_by, most_bx = row[i], by, first_bx + i
    # The most promising block first, then all that may contain a better pixel; or all pixels if few blocks drop out.
    best, best_at = np.float32(-np.inf), heat.size
    y0, x0 = max(SIDE * most_by, top), max(SIDE * most_bx, left)
    y1, x1 = min(SIDE * most_by + SIDE, bottom), min(SIDE * most_bx + SIDE, right)
    best, best_at = _best_pixel(heat, tags, person_tag, y0, y1, x0, x1, best, best_at)
    number = 0
    for by in range(first_by, last_by + 1):
        for bx in range(first_bx, last_bx + 1):
            number += bounds[by, bx] >= best
    if 2 * number > (last_by - first_by + 1) * (last_bx - first_bx + 1):
        best, best_at = _best_pixel(heat, tags, person_tag, top, bottom, left, right, best, best_at)
        return best_at // width, best_at % width
    for by in range(first_by, last_by + 1):
        for bx in range(first_bx, last_bx + 1):
            if bounds[by, bx] < best:
                continue
            y0, x0 = max(SIDE * by, top), max(SIDE * bx, left)
            if bounds[by, bx] == best and y0 * width + x0 >= best_at:
                continue
            y1, x1 = min(SIDE * by + SIDE, bottom), min(SIDE * bx + SIDE, right)
            best, best_at = _best_pixel(heat, tags, person_tag, y0, y1, x0, x1, best, best_at)
    return best_at // width, best_at % width


@compiled
def _best_pixel(
    heat: np.ndarray, tags: np.ndarray, person_tag: np.ndarray, y0: int, y1: int, x0: int, x1: int,
    best: np.float32, best_at: int,
) -> Tuple[np.float32, int]:  # fmt: skip
    """Return the best value and its flat index, updated with rows y0 to y1 and columns x0 to x1."""
    width = heat.shape[1]
    for y in range(y0, y1):
        if len(person_tag) == 1:
            value = _highest_of_row(heat[y, x0:x1], tags[0, y, x0:x1], person_tag[0])
            if value > best or (value == best and y * width + x0 < best_at):
                x = x0
                while x < x1 - 1 and heat[y, x] - _round(abs(tags[0, y, x] - person_tag[0])) != value:
                    x += 1
                if value > best or y * width + x < best_at:
                    best, best_at = value, y * width + x
            continue
        for x in range(x0, x1):
            if heat[y, x] < best:  # no tag distance makes it higher
                continue
            value = heat[y, x] - _round(_distance(tags[:, y, x], person_tag))
            if value > best or (value == best and y * width + x < best_at):
                best, best_at = value, y * width + x
    return best, best_at


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _highest_of_row(heat: np.ndarray, tags: np.ndarray, person_tag: np.float32) -> np.float32:
    """Return the highest ``heat - round(tag distance)`` of a row; the maximum is vectorised as NaN is ruled out."""
    highest = np.float32(-np.inf)
    for x in range(heat.size):
        reach = heat[x] - _round(abs(tags[x] - person_tag))
        highest = reach if reach > highest else highest
    return highest


@compiled
def _distance(tag: np.ndarray, person_tag: np.ndarray) -> np.float32:
    squares = np.float32(0)
    for t in range(len(tag)):
        difference = tag[t] - person_tag[t]
        squares += difference * difference
    return np.sqrt(squares)


@compiled
def _row_of_bounds(highest: np.ndarray, limits: np.ndarray, person_tag: np.ndarray, out: np.ndarray) -> None:
    """Write the upper bound of each block; ``limits`` (2, T, blocks) are the lowest and highest tags."""
    zero = np.float32(0)
    if len(person_tag) == 1:
        tag, low, high = person_tag[0], limits[0, 0], limits[1, 0]
        for i in range(out.size):
            below, above = low[i] - tag, tag - high[i]
            outside = below if below > above else above
            out[i] = highest[i] - _round(outside if outside > zero else zero)
        return
    out[:] = zero
    for t in range(len(person_tag)):
        tag, low, high = person_tag[t], limits[0, t], limits[1, t]
        for i in range(out.size):
            below, above = low[i] - tag, tag - high[i]
            outside = below if below > above else above
            out[i] += outside * outside if outside > zero else zero
    for i in range(out.size):
        out[i] = highest[i] - _round(np.sqrt(out[i]))


@compiled
def _round(value: np.float32) -> np.float32:
    """Round a float32 of at least 0, half to even; np.rint would be a call here, which is not vectorised."""
    return value if value >= ROUND else (value + ROUND) - ROUND


@compiled
def _block_limits(plane: np.ndarray, lines: np.ndarray, lowest: np.ndarray, highest: np.ndarray) -> None:
    """Write the lowest and the highest value of each block of a map; ``lines`` (2, W) is scratch."""
    height, width = plane.shape
    low, high = lines[0], lines[1]
    whole = width // SIDE
    for by in range(lowest.shape[0]):
        low[:] = plane[SIDE * by]
        high[:] = plane[SIDE * by]
        for y in range(SIDE * by + 1, min(SIDE * by + SIDE, height)):
            row = plane[y]
            for x in range(width):
                low[x] = row[x] if row[x] < low[x] else low[x]
                high[x] = row[x] if row[x] > high[x] else high[x]
        for bx in range(whole):
            x = SIDE * bx
            left = _least(_least(low[x], low[x + 1]), _least(low[x + 2], low[x + 3]))
            right = _least(_least(low[x + 4], low[x + 5]), _least(low[x + 6], low[x + 7]))
            lowest[by, bx] = _least(left, right)
            left = greatest(greatest(high[x], high[x + 1]), greatest(high[x + 2], high[x + 3]))
            right = greatest(greatest(high[x + 4], high[x + 5]), greatest(high[x + 6], high[x + 7]))
            highest[by, bx] = greatest(left, right)
        if width % SIDE:
            lowest[by, whole], highest[by, whole] = low[SIDE * whole :].min(), high[SIDE * whole :].max()


@compiled
def _least(a: np.float32, b: np.float32) -> np.float32:
    return a if a < b else b
