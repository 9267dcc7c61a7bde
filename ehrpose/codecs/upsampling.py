"""Maps at the size of the network input, computed only where they matter.

Resizing whole maps to the input is what makes decoding slow: at 512 px and 17 types it yields 4.5 million pixels,
of which a few thousand are near a peak. Here the input is cut into blocks of 4 x 4 pixels, one for each pixel of the
stride-4 maps. A block's values come from a few pixels of each level, so their maximum bounds it, and only blocks
whose bound says so are computed. Values are those of ``resize_maps``, bit for bit.

Axes: C channels, h x w blocks, B blocks that are computed.
"""

from __future__ import annotations

from typing import NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from ehrpose.codecs.accelerator import kernel

BLOCK = 4
# Blocks computed at a time, few enough to stay in the cache.
CHUNK = 4096
# Interpolated float32 values exceed the largest of their neighbours by less than this fraction of it.
ROUNDING = 1e-6


class _Taps(NamedTuple):
    """Map pixels that the four pixels of a block are interpolated from, along one axis.

    Pixel i lies between map pixel ``step * block + low[i]`` and the next one, whose weight is ``weight[i]``; all are
    among the ``span`` pixels from ``step * block + first`` on.
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
        levels: (C, h, w) float32 maps at stride 4 and, if any, (C, 2h, 2w) at stride 2; or the latter alone.
        stride: Stride of the first level.
    """

    def __init__(self, levels: Sequence[np.ndarray], stride: int = BLOCK):
        per_block = BLOCK // stride
        self.channels, height, width = levels[0].shape
        self.height, self.width = height // per_block, width // per_block  # in blocks
        self.is_compiled = per_block == 1
        self.levels = [(np.ascontiguousarray(m), _taps(BLOCK * self.height // m.shape[1])) for m in levels]

    def arrays(self) -> Tuple[np.ndarray, np.ndarray]:
        """Return the levels as the compiled loops, which need stride 4, expect them: a missing one is (C, 0, 0)."""
        coarse = self.levels[0][0]
        return coarse, self.levels[1][0] if len(self.levels) > 1 else coarse[:, :0, :0]

    def bounds(self, lower: bool = False) -> np.ndarray:
        """Return (C, h, w) upper (or lower) bounds of the pixels of each block, exact up to ``ROUNDING``."""
        total = None
        extreme = cv2.erode if lower else cv2.dilate
        for maps, taps in self.levels:
            # Filtered as one tall image: bounds at the borders of maps are loose, which does no harm.
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
        """Return (4, 4, B) values of the blocks in block rows ``ys`` and block columns ``xs``."""
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
    """Return the pixels above ``min_score`` that no pixel within ``reach`` (at most 4) exceeds.

    Returns:
        Channel, y and x, (M,) int64 in raster order, and the values, (M,) float32.
    """
    compiled = kernel("upsampled_peaks")
    if compiled is not None and maps.is_compiled:
        flat, values = compiled(*maps.arrays(), reach, np.float32(min_score))
        rows, xs = np.divmod(flat, BLOCK * maps.width)
        return *np.divmod(rows, BLOCK * maps.height), xs, values
    bounds = maps.bounds()
    active = np.flatnonzero(bounds > min_score - ROUNDING * abs(min_score))
    channels, ys, xs = np.unravel_index(active, bounds.shape)
    count = len(active)
    # The last column stands for blocks that were not computed: lower than any pixel that counts.
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
    # Nearest neighbours first: few pixels remain to be compared with the others.
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
