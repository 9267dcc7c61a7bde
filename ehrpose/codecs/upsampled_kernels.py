"""Loops for numba over maps at the size of the network input. Values are those of ``upsampling``, bit for bit.

Blocks are 4 x 4 input pixels, one for each pixel of the stride-4 map. ``fine`` is (C, 2h, 2w), or (C, 0, 0) without
a stride-2 level. Axes: K keypoint types, T tag length, F searches.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True)
CHUNK = 32
TILE = 8  # blocks along the side of a tile
# Interpolated float32 values exceed the largest of their neighbours by less than this share of it.
ROUNDING = 1e-6

# Which map pixels a block's four pixels lie between, from the block's place on, and the weight of the second.
LOW4 = np.array([-1, -1, 0, 0])
WEIGHT4 = np.array([0.625, 0.875, 0.125, 0.375], np.float32)
LOW2 = np.array([-1, 0, 0, 1])
WEIGHT2 = np.array([0.75, 0.25, 0.75, 0.25], np.float32)
HALF = np.float32(2)


@compiled
def _clip(value: int, size: int) -> int:
    return min(max(value, 0), size - 1)


@compiled
def _block(coarse: np.ndarray, fine: np.ndarray, by: int, bx: int, out: np.ndarray) -> None:
    """Write the 4 x 4 values of a block of one channel."""
    height, width = coarse.shape
    line = np.empty(4, np.float32)
    for i in range(4):
        top, bottom = _clip(by + LOW4[i], height), _clip(by + LOW4[i] + 1, height)
        for c in range(3):
            x = _clip(bx - 1 + c, width)
            line[c] = coarse[top, x] + WEIGHT4[i] * (coarse[bottom, x] - coarse[top, x])
        for j in range(4):
            left = line[1 + LOW4[j]]
            out[i, j] = left + WEIGHT4[j] * (line[2 + LOW4[j]] - left)
    if not fine.size:
        return
    height, width = fine.shape
    for i in range(4):
        top, bottom = _clip(2 * by + LOW2[i], height), _clip(2 * by + LOW2[i] + 1, height)
        for c in range(4):
            x = _clip(2 * bx - 1 + c, width)
            line[c] = fine[top, x] + WEIGHT2[i] * (fine[bottom, x] - fine[top, x])
        for j in range(4):
            left = line[1 + LOW2[j]]
            out[i, j] = (out[i, j] + (left + WEIGHT2[j] * (line[2 + LOW2[j]] - left))) / HALF


@compiled
def _pixel(level: np.ndarray, step: int, low: np.ndarray, weight: np.ndarray, y: int, x: int) -> np.float32:
    height, width = level.shape
    first_y, first_x = step * (y // 4) + low[y % 4], step * (x // 4) + low[x % 4]
    top, bottom = _clip(first_y, height), _clip(first_y + 1, height)
    left, right = _clip(first_x, width), _clip(first_x + 1, width)
    near = level[top, left] + weight[y % 4] * (level[bottom, left] - level[top, left])
    far = level[top, right] + weight[y % 4] * (level[bottom, right] - level[top, right])
    return near + weight[x % 4] * (far - near)


@compiled
def pixels(
    coarse: np.ndarray, fine: np.ndarray, channels: np.ndarray, ys: np.ndarray, xs: np.ndarray
) -> np.ndarray:
    """``UpsampledMaps.pixels``."""
    out = np.empty(len(ys), np.float32)
    for i in range(len(ys)):
        c = channels[i]
        out[i] = _pixel(coarse[c], 1, LOW4, WEIGHT4, ys[i], xs[i])
        if fine.size:
            out[i] = (out[i] + _pixel(fine[c], 2, LOW2, WEIGHT2, ys[i], xs[i])) / HALF
    return out


@compiled
def peaks(
    coarse: np.ndarray, fine: np.ndarray, reach: int, min_score: np.float32, floor: np.float32
) -> Tuple[np.ndarray, np.ndarray]:
    """``find_upsampled_peaks``: flat pixels, rising, and their values.

    Args:
        coarse: (K, h, w) float32.
        fine: (K, 2h, 2w) float32.
        reach: Pixels to each side that a peak is not exceeded by, at most 4.
        min_score: Only values above it count.
        floor: Where no map pixel is above it, no value is above ``min_score``.
    """
    num_types, height, width = coarse.shape
    plane = np.full((4 * height, 4 * width), -np.inf, np.float32)
    wanted = np.zeros((height, width), np.bool_)
    block = np.empty((4, 4), np.float32)
    found, values = np.empty(256, np.int64), np.empty(256, np.float32)
    count = 0
    for k in range(num_types):
        first, last = np.full(height, width), np.full(height, -1)  # columns of the wanted blocks of a row
        _mark(coarse[k], 1, 1, 1, floor, wanted, first, last)
        if fine.size:
            _mark(fine[k], 2, 1, 2, floor, wanted, first, last)
        for by in range(height):
            for bx in range(first[by], last[by] + 1):
                if wanted[by, bx]:
                    _block(coarse[k], fine[k], by, bx, block)
                    plane[4 * by : 4 * by + 4, 4 * bx : 4 * bx + 4] = block
        for by in range(height):
            for y in range(4 * by, 4 * by + 4):
                for x in range(4 * first[by], 4 * last[by] + 4):
                    if plane[y, x] > min_score and _is_highest(plane, y, x, reach):
                        if count == found.size:
                            found, values = np.append(found, found), np.append(values, values)
                        found[count] = (k * plane.shape[0] + y) * plane.shape[1] + x
                        values[count] = plane[y, x]
                        count += 1
        for by in range(height):
            if last[by] >= 0:
                plane[4 * by : 4 * by + 4, 4 * first[by] : 4 * last[by] + 4] = -np.inf
                wanted[by, first[by] : last[by] + 1] = False
    return found[:count], values[:count]


@compiled
def _mark(
    level: np.ndarray, step: int, before: int, after: int, floor: np.float32,
    wanted: np.ndarray, first: np.ndarray, last: np.ndarray,
) -> None:  # fmt: skip
    """Mark the blocks that pixels over ``floor`` touch: block b takes ``step * b - before`` to ``step * b + after``."""
    height, width = level.shape
    for y in range(height):
        for start in range(0, width, CHUNK):
            stop = min(start + CHUNK, width)
            number = 0
            for x in range(start, stop):
                number += level[y, x] > floor
            if not number:
                continue
            for x in range(start, stop):
                if level[y, x] > floor:
                    left = max((x - after + step - 1) // step, 0)
                    right = min((x + before) // step, wanted.shape[1] - 1)
                    for by in range(
                        max((y - after + step - 1) // step, 0),
                        min((y + before) // step, wanted.shape[0] - 1) + 1,
                    ):
                        wanted[by, left : right + 1] = True
                        first[by], last[by] = min(first[by], left), max(last[by], right)


@compiled
def _is_highest(plane: np.ndarray, y: int, x: int, reach: int) -> bool:
    value = plane[y, x]
    height, width = plane.shape
    # The nearest first: they rule out most.
    if (x and plane[y, x - 1] > value) or (x + 1 < width and plane[y, x + 1] > value):
        return False
    if (y and plane[y - 1, x] > value) or (y + 1 < height and plane[y + 1, x] > value):
        return False
    for to_y in range(max(y - reach, 0), min(y + reach + 1, height)):
        for to_x in range(max(x - reach, 0), min(x + reach + 1, width)):
            if plane[to_y, to_x] > value:
                return False
    return True


@compiled
def best_by_tag(
    coarse: np.ndarray, fine: np.ndarray, tags: np.ndarray, types: np.ndarray, person_tags: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """``find_upsampled_by_tag``: y and x of each search.

    Tiles, and in them blocks, are looked at in the order of the highest value that they may hold.

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
    high, least, most = (
        np.empty((height, width), np.float32),
        np.empty((num_tags, height, width), np.float32),
        np.empty((num_tags, height, width), np.float32),
    )
    tiles = (height + TILE - 1) // TILE, (width + TILE - 1) // TILE
    tile_high = np.empty(tiles, np.float32)
    tile_least, tile_most = np.empty((num_tags, *tiles), np.float32), np.empty((num_tags, *tiles), np.float32)
    highest = np.empty((height, width), np.float32)
    reached = np.empty(tiles[0] * tiles[1])
    order = np.argsort(types, kind="mergesort")
    previous = -1
    for search in order:
        k = types[search]
        if k != previous:
            previous = k
            _upper_bounds(coarse[k], fine[k], high)
            _tile_maximum(high, tile_high)
            for t in range(num_tags):
                _window_maximum(tags[t * num_types + k], 1, 3, np.float32(1), most[t])
                _window_maximum(tags[t * num_types + k], 1, 3, np.float32(-1), least[t])
                _tile_maximum(most[t], tile_most[t])
                _tile_maximum(least[t], tile_least[t])
            highest[:] = np.nan  # of the blocks' pixels: not computed yet
        ys[search], xs[search] = _best_pixel(
            coarse[k], fine[k], tags, k, num_types, person_tags[search], high, least, most,
            tile_high, tile_least, tile_most, highest, reached,
        )  # fmt: skip
    return ys, xs


@compiled
def _best_pixel(
    coarse: np.ndarray, fine: np.ndarray, tags: np.ndarray, k: int, num_types: int, person_tag: np.ndarray,
    high: np.ndarray, least: np.ndarray, most: np.ndarray,
    tile_high: np.ndarray, tile_least: np.ndarray, tile_most: np.ndarray,
    highest: np.ndarray, reached: np.ndarray,
) -> Tuple[int, int]:  # fmt: skip
    height, width = coarse.shape
    rows, columns = tile_high.shape
    block, squares, tag = np.empty((4, 4), np.float32), np.empty((4, 4)), np.empty((4, 4), np.float32)
    nothing = fine[:0, :0]
    for ty in range(rows):
        for tx in range(columns):
            cost = _least_cost(tile_least[:, ty, tx], tile_most[:, ty, tx], person_tag)
            reached[ty * columns + tx] = tile_high[ty, tx] - cost
    best, best_at = -np.inf, 0
    while True:
        tile = np.argmax(reached)
        if reached[tile] < best or reached[tile] == -np.inf:
            return best_at // (4 * width), best_at % (4 * width)
        reached[tile] = -np.inf
        ty, tx = TILE * (tile // columns), TILE * (tile % columns)
        for by in range(ty, min(ty + TILE, height)):
            for bx in range(tx, min(tx + TILE, width)):
                cost = _least_cost(least[:, by, bx], most[:, by, bx], person_tag)
                if high[by, bx] - cost < best:
                    continue
                if np.isnan(highest[by, bx]):
                    _block(coarse, fine, by, bx, block)
                    highest[by, bx] = block.max()
                bound = highest[by, bx] - cost
                corner = 16 * by * width + 4 * bx
                if bound < best or (bound == best and corner > best_at):
                    continue
                _block(coarse, fine, by, bx, block)
                squares[:] = 0
                for t in range(len(person_tag)):
                    _block(tags[t * num_types + k], nothing, by, bx, tag)
                    for i in range(4):
                        for j in range(4):
                            difference = tag[i, j] - person_tag[t]
                            squares[i, j] += difference * difference
                for i in range(4):
                    for j in range(4):
                        value = block[i, j] - np.rint(np.sqrt(squares[i, j]))
                        at = corner + 4 * i * width + j
                        if value > best or (value == best and at < best_at):
                            best, best_at = value, at


@compiled
def _least_cost(minus_least: np.ndarray, most: np.ndarray, person_tag: np.ndarray) -> float:
    """Return a rounded distance that tags between ``-minus_least`` and ``most`` do not fall below."""
    squares = 0.0
    for t in range(len(person_tag)):
        low, high, tag = -minus_least[t], most[t], person_tag[t]
        slack = ROUNDING * (1 + abs(low) + abs(high) + abs(tag))
        outside = max(low - tag, tag - high) - slack
        if outside > 0:
            squares += outside * outside
    return np.rint(np.sqrt(squares) * (1 - 1e-12))


@compiled
def _upper_bounds(coarse: np.ndarray, fine: np.ndarray, out: np.ndarray) -> None:
    """Write what no pixel of each block exceeds."""
    _window_maximum(coarse, 1, 3, np.float32(1), out)
    if fine.size:
        other = np.empty_like(out)
        _window_maximum(fine, 2, 4, np.float32(1), other)
        out[:] = (out + other) / HALF
    margin = np.float32(2 * ROUNDING) * max(np.float32(1), np.abs(out).max())
    out += margin


@compiled
def _window_maximum(level: np.ndarray, step: int, span: int, sign: np.float32, out: np.ndarray) -> None:
    """Write the maximum of ``sign * level`` over pixels ``step * b - 1`` to ``step * b + span - 2`` of each block b."""
    height, width = level.shape
    row = np.empty(width + span, np.float32)
    for by in range(out.shape[0]):
        row[:] = -np.inf
        for y in range(max(step * by - 1, 0), min(step * by + span - 1, height)):
            for x in range(width):
                value = sign * level[y, x]
                row[x + 1] = value if value > row[x + 1] else row[x + 1]
        for bx in range(out.shape[1]):
            value = row[step * bx]
            for i in range(1, span):
                value = max(value, row[step * bx + i])
            out[by, bx] = value


@compiled
def _tile_maximum(blocks: np.ndarray, out: np.ndarray) -> None:
    out[:] = -np.inf
    for by in range(blocks.shape[0]):
        for bx in range(blocks.shape[1]):
            ty, tx = by // TILE, bx // TILE
            out[ty, tx] = max(out[ty, tx], blocks[by, bx])
