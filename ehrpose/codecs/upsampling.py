"""Maps at the size of the network input, computed only where they matter.

Resizing whole maps to the input is what makes decoding slow: at 512 px and 17 types it gives 4.5 million pixels, of
which a few thousand are near a peak. Here the input is cut into blocks of 4 x 4 pixels, one for each pixel of the
stride-4 maps. A block's values come from a few pixels of each level, so their maximum bounds it, and only blocks
whose bound says so are computed. Values are those of ``resize_maps``, bit for bit.

Axes: C channels, h x w blocks, B blocks that are computed.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence, Tuple

import cv2
import numpy as np

BLOCK = 4
# So many blocks at a time stay in the cache.
CHUNK = 4096
# Interpolated float32 values exceed the largest of their neighbours by less than this share of it.
ROUNDING = 1e-6


class _Taps(NamedTuple):
    """Which map pixels make the four pixels of a block along an axis.

    Pixel i lies between map pixel ``step * block + low[i]`` and the next one, which counts with ``weight[i]``; all
    are among the ``span`` from ``step * block + first`` on.
    """

    step: int
    low: Tuple[int, ...]
    weight: Tuple[float, ...]
    first: int
    span: int


def _taps(stride: int) -> _Taps:
    positions = (np.arange(BLOCK) + 0.5) / stride - 0.5
    low = np.floor(positions).astype(int)
    count = int(low[-1] - low[0]) + 2
    return _Taps(BLOCK // stride, tuple(low.tolist()), tuple((positions - low).tolist()), int(low[0]), count)


class UpsampledMaps:
    """The mean of maps of several strides, each resized to the network input.

    Args:
        levels: (C, h, w) float32 maps at stride 4 and, if any, (C, 2h, 2w) at stride 2.
    """

    def __init__(self, levels: Sequence[np.ndarray]):
        self.channels, self.height, self.width = levels[0].shape  # in blocks
        self.levels = [(np.ascontiguousarray(m), _taps(BLOCK * self.height // m.shape[1])) for m in levels]

    def bounds(self, lower: bool = False) -> np.ndarray:
        """Return (C, h, w): no pixel of the block is higher (or lower); exact up to ``ROUNDING``."""
        total = None
        extreme = cv2.erode if lower else cv2.dilate
        for maps, taps in self.levels:
            # One tall image: at the borders of maps the bounds are loose, which does no harm.
            tall = maps.reshape(-1, maps.shape[2])
            kernel = np.ones((taps.span, taps.span), np.uint8)
            bound = extreme(tall, kernel, anchor=(-taps.first, -taps.first))
            bound = bound.reshape(maps.shape)[:, :: taps.step, :: taps.step]
            total = bound if total is None else total + bound
        assert total is not None
        return np.asarray(total / np.float32(len(self.levels)), np.float32)

    def samples(self) -> np.ndarray:
        """Return (C, h, w): the value of one pixel of each block."""
        total = None
        for maps, taps in self.levels:
            upper, lower, weight = _neighbours(BLOCK * np.arange(self.height) + 1, taps, maps.shape[1])
            rows = maps.take(upper, axis=1)
            rows += weight[:, None] * (maps.take(lower, axis=1) - rows)
            left, right, weight = _neighbours(BLOCK * np.arange(self.width) + 1, taps, maps.shape[2])
            values = rows.take(left, axis=2)
            values += weight * (rows.take(right, axis=2) - values)
            total = values if total is None else total + values
        assert total is not None
        return total if len(self.levels) == 1 else total / np.float32(len(self.levels))

    def blocks(self, channels: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        """Return (4, 4, B) values of blocks at row ``ys`` and column ``xs`` of blocks."""
        out = np.empty((BLOCK, BLOCK, len(ys)), np.float32)
        for start in range(0, len(ys), CHUNK):
            part = slice(start, start + CHUNK)
            out[:, :, part] = self._blocks(channels[part], ys[part], xs[part])
        return out

    def _blocks(self, channels: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        total = None
        for maps, taps in self.levels:
            height, width = maps.shape[1:]
            window = np.arange(taps.first, taps.first + taps.span)[:, None]
            rows = np.clip(taps.step * ys + window, 0, height - 1) + channels * height
            columns = np.clip(taps.step * xs + window, 0, width - 1)
            patches = maps.reshape(-1).take((rows * width)[:, None] + columns[None])
            values = _interpolate(patches, taps)
            values = _interpolate(values.transpose(1, 0, 2), taps).transpose(1, 0, 2)
            total = values if total is None else total + values
        assert total is not None
        return total if len(self.levels) == 1 else total / np.float32(len(self.levels))

    def pixels(self, channels: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        """Return (M,) values at pixels of the network input, rows ``ys`` and columns ``xs``."""
        total = None
        for maps, taps in self.levels:
            height, width = maps.shape[1:]
            (top, bottom, down), (left, right, across) = (
                _neighbours(at, taps, size) for at, size in ((ys, height), (xs, width))
            )
            upper, lower = maps[channels, top, left], maps[channels, top, right]
            upper = upper + down * (maps[channels, bottom, left] - upper)
            lower = lower + down * (maps[channels, bottom, right] - lower)
            values = upper + across * (lower - upper)
            total = values if total is None else total + values
        assert total is not None
        return total if len(self.levels) == 1 else total / np.float32(len(self.levels))


def _interpolate(patches: np.ndarray, taps: _Taps) -> np.ndarray:
    """Return (4, n, B) values between the rows of (span, n, B) patches."""
    out = np.empty((BLOCK, *patches.shape[1:]), np.float32)
    between, difference = None, patches[0]
    for i, (low, weight) in enumerate(zip(taps.low, taps.weight)):
        if low != between:
            between, before = low, patches[low - taps.first]
            difference = patches[low - taps.first + 1] - before
        np.multiply(difference, np.float32(weight), out=out[i])
        out[i] += before
    return out


def _neighbours(at: np.ndarray, taps: _Taps, size: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two map pixels that a pixel of the input lies between, and the weight of the second."""
    block, inside = np.divmod(at, BLOCK)
    low = taps.step * block + np.asarray(taps.low)[inside]
    weight = np.asarray(taps.weight, np.float32)[inside]
    return np.clip(low, 0, size - 1), np.clip(low + 1, 0, size - 1), weight


def find_upsampled_peaks(maps: UpsampledMaps, reach: int, min_score: float) -> Tuple[np.ndarray, ...]:
    """Return the pixels over ``min_score`` that none within ``reach`` pixels (at most 4) exceeds.

    Returns:
        Channel, y and x, (M,) int64 in raster order, and the values, (M,) float32.
    """
    bounds = maps.bounds()
    active = np.flatnonzero(bounds > min_score - ROUNDING * abs(min_score))
    channels, ys, xs = np.unravel_index(active, bounds.shape)
    count = len(active)
    # The last column stands for blocks that were not computed: they are lower than any pixel that counts.
    values = np.full((BLOCK, BLOCK, count + 1), -np.inf, np.float32)
    values[:, :, :count] = maps.blocks(channels, ys, xs)
    slots = np.full((maps.channels, maps.height + 2, maps.width + 2), count, np.int32)
    slots[channels, ys + 1, xs + 1] = np.arange(count)

    highest = values[:, :, :count] > min_score
    _drop_lower_in_block(values[:, :, :count], highest)
    inside_y, inside_x, block = np.nonzero(highest)
    found = values[inside_y, inside_x, block]
    flat_values, flat_slots = values.reshape(-1), slots.reshape(-1)
    row = maps.width + 2
    corner = (channels * (maps.height + 2) + ys + 1) * row + xs + 1
    around = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1) if dy or dx]
    # The nearest neighbours first: they leave few pixels for the others.
    for dy, dx in sorted(around, key=lambda offset: offset[0] ** 2 + offset[1] ** 2):
        to_y, to_x = inside_y + dy, inside_x + dx
        slot = flat_slots[corner[block] + (to_y // BLOCK) * row + to_x // BLOCK]
        neighbour = flat_values[(to_y % BLOCK * BLOCK + to_x % BLOCK) * (count + 1) + slot]
        kept = found >= neighbour
        inside_y, inside_x, block, found = inside_y[kept], inside_x[kept], block[kept], found[kept]
    y, x, channel = BLOCK * ys[block] + inside_y, BLOCK * xs[block] + inside_x, channels[block]
    order = np.lexsort((x, y, channel))
    return channel[order], y[order], x[order], found[order]


def _drop_lower_in_block(values: np.ndarray, highest: np.ndarray) -> None:
    """Clear ``highest`` in place where a direct neighbour in the (4, 4, B) block is higher."""
    for before, after in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        highest[before] &= values[before] >= values[after]
        highest[after] &= values[after] >= values[before]


def find_upsampled_by_tag(
    heat: UpsampledMaps, tags: UpsampledMaps, types: np.ndarray, person_tags: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Return y and x of the highest ``heat - round(tag distance)`` of each (person, type), first on a tie.

    Args:
        heat: Heatmaps of K types.
        tags: T * K channels, channel ``t * K + k``.
        types: (F,) type of each search.
        person_tags: (F, T).
    """
    num_tags = person_tags.shape[1]
    shape = num_tags, heat.channels, heat.height * heat.width
    high, some = heat.bounds().reshape(shape[1:]), heat.samples().reshape(shape[1:])
    tag_low, tag_high = tags.bounds(lower=True).reshape(shape), tags.bounds().reshape(shape)
    some_tags = tags.samples().reshape(shape)
    # The bounds and samples are float32: these leave room for rounding.
    margin = np.float32(ROUNDING * max(float(np.abs(high).max(initial=0)), 1.0))
    slack = 1e-5 * (1 + np.abs(person_tags).max(initial=0))
    found = []
    for row, (k, tag) in enumerate(zip(types.tolist(), person_tags)):
        # What one pixel of each block reaches, so the best of them, is a value that the best pixel has at least.
        least = np.max(some[k] - np.rint(_distance(some_tags[:, k], tag) + np.float32(slack))) - 2 * margin
        cost = np.rint(_least_distance(tag_low[:, k], tag_high[:, k], tag, slack))
        block = np.flatnonzero(high[k] - cost >= least)
        found.append((np.full(len(block), row), block, cost[block]))
    search, block, cost = map(np.concatenate, zip(*found))
    # Many searches meet in few blocks: their highest pixels replace the bounds.
    at = types[search] * shape[2] + block
    met = np.zeros(high.size, bool)
    met[at] = True
    met = np.flatnonzero(met)
    k, block_of_type = np.divmod(met, shape[2])
    highest = np.full(high.size, -np.inf, np.float32)
    highest[met] = heat.blocks(k, *np.divmod(block_of_type, heat.width)).max(axis=(0, 1))
    reach = highest[at] - cost + margin
    first = _best_few(search, reach, len(types))
    best, y, x = _best_of(heat, tags, types, person_tags, search[first], block[first])
    rest = ~first & (reach >= best[search])
    again, where = np.unique(search[rest], return_inverse=True)
    if len(again):
        found_again = _best_of(heat, tags, types[again], person_tags[again], where, block[rest])
        for row, value, to_y, to_x in zip(again.tolist(), *found_again):
            if (-value, to_y, to_x) < (-best[row], y[row], x[row]):
                y[row], x[row] = to_y, to_x
    return y, x


def _best_few(search: np.ndarray, reach: np.ndarray, num_searches: int, count: int = 64) -> np.ndarray:
    """Return the mask of the ``count`` blocks of highest reach of each search; ``search`` is rising."""
    chosen = np.ones(len(search), bool)
    starts = np.searchsorted(search, np.arange(num_searches + 1))
    for row in np.flatnonzero(np.diff(starts) > count).tolist():
        part = slice(starts[row], starts[row + 1])
        chosen[part] = False
        chosen[starts[row] + np.argpartition(-reach[part], count)[:count]] = True
    return chosen


def _distance(tags: np.ndarray, tag: np.ndarray) -> np.ndarray:
    """Return (P,) float32 distances of ``tag`` (T,) from (T, P)."""
    if len(tag) == 1:
        return np.abs(tags[0] - np.float32(tag[0]))
    return np.sqrt(np.sum([(tags[t] - np.float32(tag[t])) ** 2 for t in range(len(tag))], axis=0))


def _least_distance(low: np.ndarray, high: np.ndarray, tag: np.ndarray, slack: float) -> np.ndarray:
    """Return (P,) least distances of ``tag`` (T,) from boxes ``low`` to ``high``, (T, P)."""
    outside = [
        np.maximum(np.maximum(low[t] - np.float32(tag[t] + slack), np.float32(tag[t] - slack) - high[t]), 0)
        for t in range(len(tag))
    ]
    if len(outside) == 1:
        return outside[0]
    squares = np.sum([distance * distance for distance in outside], axis=0)
    return np.maximum(np.sqrt(squares) - np.float32(slack), 0)


def _best_of(
    heat: UpsampledMaps,
    tags: UpsampledMaps,
    types: np.ndarray,
    person_tags: np.ndarray,
    search: np.ndarray,
    block: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return value, y and x of the best pixel of each search in its blocks: ``search`` rising, with ``block``."""
    ys, xs = np.divmod(block, heat.width)
    k = types[search]
    squares = np.zeros((BLOCK, BLOCK, len(block)))
    for t in range(person_tags.shape[1]):
        difference = tags.blocks(t * heat.channels + k, ys, xs) - person_tags[search, t]
        squares += difference**2
    value = heat.blocks(k, ys, xs) - np.round(np.sqrt(squares))
    starts = np.searchsorted(search, np.arange(len(types)))
    best = np.maximum.reduceat(value.max(axis=(0, 1)), starts)
    inside_y, inside_x, tied = np.nonzero(value == best[search])
    y, x = BLOCK * ys[tied] + inside_y, BLOCK * xs[tied] + inside_x
    order = np.lexsort((x, y, search[tied]))
    first = order[np.searchsorted(search[tied][order], np.arange(len(types)))]
    return best, y[first], x[first]
