"""Heatmaps: drawing Gaussians, finding peaks, sub-pixel positions, resizing, levels (NumPy and OpenCV only).

Axes: K keypoint types, H rows, W columns. Positions are (x, y) in heatmap pixels; pixel i is centred at i.
"""

from __future__ import annotations

from functools import lru_cache
from typing import List, NamedTuple, Sequence, Tuple, Union

import cv2
import numpy as np

from ehrpose.codecs.accelerator import kernel
from ehrpose.structures import Maps


def draw_gaussians(
    heatmaps: np.ndarray, positions: np.ndarray, types: np.ndarray, sigma: Union[float, np.ndarray]
) -> None:
    """Draw a Gaussian with peak 1 at every position, combined by maximum, in place.

    Args:
        heatmaps: (K, H, W) float32, changed in place.
        positions: (M, 2) x and y in heatmap pixels; fractional positions are kept (unbiased targets).
        types: (M,) keypoint type of each position.
        sigma: Standard deviation, heatmap pixels: one for all, or (M,).
    """
    height, width = heatmaps.shape[1:]
    one_for_all = np.ndim(sigma) == 0
    sigmas = np.broadcast_to(sigma, len(positions)).tolist()
    for (x, y), k, width_of in zip(positions.tolist(), types.tolist(), sigmas):
        radius = int(np.ceil(3 * width_of)) + 1
        left, top = int(np.floor(x)), int(np.floor(y))
        if left < -radius or top < -radius or left > width + radius or top > height + radius:
            continue
        x0, x1 = max(left - radius, 0), min(left + radius + 2, width)
        y0, y1 = max(top - radius, 0), min(top + radius + 2, height)
        if x0 >= x1 or y0 >= y1:
            continue
        if left == x and top == y and one_for_all:
            patch = _patch(radius, width_of)
            part = patch[y0 - top + radius : y1 - top + radius, x0 - left + radius : x1 - left + radius]
        else:
            row = np.exp(-((np.arange(x0, x1) - x) ** 2) / (2 * width_of**2))
            column = np.exp(-((np.arange(y0, y1) - y) ** 2) / (2 * width_of**2))
            part = (column[:, None] * row[None]).astype(np.float32)
        window = heatmaps[k, y0:y1, x0:x1]
        np.maximum(window, part, out=window)


@lru_cache(maxsize=16)
def _patch(radius: int, sigma: float) -> np.ndarray:
    """Return the Gaussian centred on a pixel, (2 radius + 2) square so that slices never fall short."""
    axis = np.exp(-((np.arange(-radius, radius + 2)) ** 2) / (2 * sigma**2))
    return (axis[:, None] * axis[None]).astype(np.float32)


class Peaks(NamedTuple):
    """Local maxima of K heatmaps, sorted by type, then by descending score.

    Attributes:
        types, ys, xs: (M,) int64, type and pixel of each.
        scores: (M,) float32.
        offsets: (K + 1,) int64; those of type k are ``offsets[k]:offsets[k + 1]``.
    """

    types: np.ndarray
    ys: np.ndarray
    xs: np.ndarray
    scores: np.ndarray
    offsets: np.ndarray


def find_peaks(heatmaps: np.ndarray, window: int, min_score: float, max_peaks: int) -> Peaks:
    """Return the local maxima of heatmaps, ties in raster order.

    Args:
        heatmaps: (K, H, W) float32, contiguous.
        window: Odd side of the square in which no pixel exceeds the peak.
        min_score: Only values above it count.
        max_peaks: Maximum number of peaks per type.
    """
    found = _local_maxima(heatmaps, window // 2, np.float32(min_score))
    return rank_peaks(found, heatmaps.reshape(-1)[found], heatmaps.shape, max_peaks)


def distinct_peaks(types: np.ndarray, ys: np.ndarray, xs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the indices of the peaks that do not touch an earlier one, ascending.

    Two local maxima touch only if they are equal: the pixels of one flat top, which maps rounded to bfloat16 or float16
    often have. The first in raster order stands for all; the parabola then moves it to the middle.

    Args:
        types: (M,) ascending.
        ys: (M,) pixels.
        xs: (M,) pixels.
        scores: (M,) heatmap values, those of a type descending, ties in raster order.
    """
    if not ((scores[1:] == scores[:-1]) & (types[1:] == types[:-1])).any():
        return np.arange(len(types))  # as nearly always in float32
    width = int(xs.max()) + 2  # one more, so that no row touches the next
    keys = (types * (int(ys.max()) + 2) + ys) * width + xs
    earlier = keys[:, None] - np.array([1, width - 1, width, width + 1])
    return np.flatnonzero(~np.isin(earlier, keys).any(axis=1))


def _local_maxima(heatmaps: np.ndarray, reach: int, min_score: np.float32) -> np.ndarray:
    """Return the flat indices, ascending, of pixels above ``min_score`` that no neighbour within ``reach`` exceeds."""
    compiled = kernel("local_maxima")
    if compiled is not None:
        return compiled(heatmaps, reach, min_score)
    found = _pixels_over(heatmaps.reshape(-1), min_score)
    # Usually few pixels exceed the threshold; if many do, checking all pixels is cheaper.
    if len(found) > heatmaps.size // 16:
        return _all_maxima(heatmaps, 2 * reach + 1, min_score)
    return _maxima_among(heatmaps, found, reach)


def _pixels_over(flat: np.ndarray, min_score: np.float32) -> np.ndarray:
    """Return the indices of the values above ``min_score``, ascending."""
    over = flat > min_score
    if len(flat) % 8:
        return np.flatnonzero(over)
    # Eight at a time, as most are False.
    eights = np.flatnonzero(over.view(np.uint64) != 0)
    inside = np.flatnonzero(over.reshape(-1, 8)[eights])
    place = inside // 8
    return inside + 8 * (eights - np.arange(len(eights)))[place]


def rank_peaks(found: np.ndarray, scores: np.ndarray, shape: Tuple[int, ...], max_peaks: int) -> Peaks:
    """Return the ``max_peaks`` highest peaks of each type.

    Args:
        found: (M,) flat indices, ascending.
        scores: (M,) float32.
        shape: K, H, W.
        max_peaks: Maximum number of peaks per type.
    """
    num_types, height, width = shape
    types = found // (height * width)
    counts = np.bincount(types, minlength=num_types)
    if counts.max(initial=0) > max_peaks:
        ends = np.cumsum(counts)
        kept = np.concatenate(
            [end - n + highest_first(scores[end - n : end], max_peaks) for n, end in zip(counts, ends)]
        )
        found, scores, types = found[kept], scores[kept], types[kept]
        counts = np.minimum(counts, max_peaks)
    order = np.lexsort((-scores, types))
    types = types[order]
    rows, xs = np.divmod(found[order], width)
    return Peaks(types, rows - types * height, xs, scores[order], np.concatenate([[0], np.cumsum(counts)]))


def _maxima_among(heatmaps: np.ndarray, found: np.ndarray, reach: int) -> np.ndarray:
    """Return the flat indices of ``found`` whose pixels no neighbour within ``reach`` exceeds."""
    height, width = heatmaps.shape[1:]
    flat = heatmaps.reshape(-1)
    values, xs = flat.take(found), found % width
    # Direct neighbours first: few pixels remain to be compared with the others.
    kept = (values >= flat.take(found - (xs > 0))) & (values >= flat.take(found + (xs < width - 1)))
    found, values, xs = found[kept], values[kept], xs[kept]
    ys = found // width % height
    above, below = found - width * (ys > 0), found + width * (ys < height - 1)
    kept = (values >= flat.take(above)) & (values >= flat.take(below))
    found, values, xs, ys = found[kept], values[kept], xs[kept], ys[kept]
    steps = np.arange(-reach, reach + 1)
    to_y = np.minimum(np.maximum(ys[:, None] + steps, 0), height - 1) - ys[:, None]
    to_x = np.minimum(np.maximum(xs[:, None] + steps, 0), width - 1) - xs[:, None]
    around = flat.take((found[:, None] + to_y * width)[:, :, None] + to_x[:, None])
    return found[(around <= values[:, None, None]).all(axis=(1, 2))]


def _all_maxima(heatmaps: np.ndarray, window: int, min_score: np.float32) -> np.ndarray:
    kernel = np.ones((window, window), np.uint8)
    size = heatmaps[0].size
    found = [
        k * size + np.flatnonzero((heatmap == cv2.dilate(heatmap, kernel)) & (heatmap > min_score))
        for k, heatmap in enumerate(heatmaps)
    ]
    return np.concatenate(found)


def highest_first(scores: np.ndarray, count: int) -> np.ndarray:
    """Return the indices, ascending, of the ``count`` highest values; the first ones on a tie for the last place."""
    if len(scores) <= count:
        return np.arange(len(scores))
    last = np.partition(scores, len(scores) - count)[len(scores) - count]
    above = np.flatnonzero(scores > last)
    equal = np.flatnonzero(scores == last)[: count - len(above)]
    return np.sort(np.concatenate([above, equal]))


def quarter_shift(heatmaps: np.ndarray, types: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Return (M, 2) x, y moved by 0.25 px toward the higher neighbour, or toward the lower index on a tie."""
    height, width = heatmaps.shape[1:]
    before = heatmaps[types, ys, np.maximum(xs - 1, 0)]
    right = heatmaps[types, ys, np.minimum(xs + 1, width - 1)] > before
    below = heatmaps[types, np.minimum(ys + 1, height - 1), xs] > heatmaps[types, np.maximum(ys - 1, 0), xs]
    return np.stack([xs + np.where(right, 0.25, -0.25), ys + np.where(below, 0.25, -0.25)], axis=-1)


def parabola_peak(heatmaps: np.ndarray, types: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Return (M, 2) x, y of the vertices of parabolas through the logarithms of three neighbouring pixels.

    Exact for a Gaussian; the result stays within half a pixel of (xs, ys). No shift at the border.
    """
    height, width = heatmaps.shape[1:]
    at = (types * height + ys) * width + xs
    left, right = at - (xs > 0), at + (xs < width - 1)
    above, below = at - width * (ys > 0), at + width * (ys < height - 1)
    cross = heatmaps.reshape(-1).take(np.concatenate([at, left, right, above, below])).reshape(5, -1)
    return parabola_of_cross(cross, ys, xs, (width, height))


def parabola_of_cross(
    cross: np.ndarray, ys: np.ndarray, xs: np.ndarray, map_wh: Tuple[int, int]
) -> np.ndarray:
    """Do what ``parabola_peak`` does, from (5, M) values: centre, left, right, above and below."""
    logs = np.log(np.maximum(cross.astype(np.float64), 1e-6))
    shifts = _vertex(before=logs[1::2], centre=logs[0], after=logs[2::2])
    at = np.array([xs, ys])
    inner = (at > 0) & (at < [[map_wh[0] - 1], [map_wh[1] - 1]])
    return (at + np.where(inner, shifts, 0.0)).T


def _vertex(before: np.ndarray, centre: np.ndarray, after: np.ndarray) -> np.ndarray:
    curvature = before + after - 2 * centre
    shift = np.zeros_like(curvature)
    np.divide(0.5 * (before - after), curvature, out=shift, where=curvature <= -1e-9)  # flat otherwise
    return np.minimum(np.maximum(shift, -0.5), 0.5)


def resize_maps(maps: np.ndarray, size_wh: Tuple[int, int], align_corners: bool) -> np.ndarray:
    """Resize (C, H, W) maps bilinearly to (C, size_wh[1], size_wh[0]) float32.

    Args:
        maps: float32 maps.
        size_wh: Target width and height, px.
        align_corners: True: the centres of the corner pixels coincide; False: the corners of the images do.
    """
    maps = np.ascontiguousarray(maps, np.float32)
    if maps.shape[2] == size_wh[0] and maps.shape[1] == size_wh[1]:
        return maps
    # Rows, then columns. In the form a + w * (b - a), constant maps stay constant to the last bit.
    low, high, weight = _between(maps.shape[1], size_wh[1], align_corners)
    rows = maps.take(low, axis=1)
    rows += weight[:, None] * (maps.take(high, axis=1) - rows)
    low, high, weight = _between(maps.shape[2], size_wh[0], align_corners)
    out = rows.take(low, axis=2)
    out += weight * (rows.take(high, axis=2) - out)
    return out


@lru_cache(maxsize=64)
def _between(source: int, target: int, align_corners: bool) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two source pixels that each target pixel lies between, and the weight of the second."""
    shifted = (np.arange(target) + 0.5) * (source / target) - 0.5
    positions = np.linspace(0.0, source - 1, target) if align_corners else shifted
    low = np.floor(positions).astype(np.int64)
    weight = (positions - low).astype(np.float32)
    return np.clip(low, 0, source - 1), np.clip(low + 1, 0, source - 1), weight


def sample_bilinear(maps: np.ndarray, channels: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Return (M,) values of (C, H, W) maps at (M,) channels and (M, 2) x, y, clamped to the border."""
    height, width = maps.shape[1:]
    inside = np.minimum(np.maximum(positions, 0), [width - 1, height - 1])
    low = inside.astype(np.int64)
    fx, fy = (inside - low).astype(np.float32).T
    x, y = low.T
    at = (channels * height + y) * width + x
    right, below = x < width - 1, width * (y < height - 1)
    corners = maps.reshape(-1).take(np.concatenate([at, at + right, at + below, at + right + below]))
    before, after = corners.reshape(2, 2, -1).swapaxes(0, 1)
    top, bottom = before * (1 - fx) + after * fx
    return top * (1 - fy) + bottom * fy


def coarsest(maps: Maps) -> Tuple[np.ndarray, np.ndarray]:
    """Return the heatmaps and the tags of the coarsest level, those that decoding uses."""
    return (maps.heat2, maps.tag2) if maps.heat4 is None else (maps.heat4, maps.tag4)


def heat_levels(maps: Maps) -> List[np.ndarray]:
    """Return the heatmaps of each level, the coarsest first."""
    return [level for level in (maps.heat4, maps.heat2) if level is not None]


def at_finest(maps: Maps, align_corners: bool) -> Maps:
    """Return the maps as one level at the finest stride: the mean of the heatmaps and the coarsest level's tags.

    It is the first step of the resizing in HigherHRNet's code, arXiv:1908.10357.
    """
    if maps.heat4 is None or maps.heat2 is None:
        return maps
    size_wh = (maps.heat2.shape[2], maps.heat2.shape[1])
    heat = mean([resize_maps(maps.heat4, size_wh, align_corners), maps.heat2])
    return Maps(heat2=heat, tag2=resize_maps(maps.tag4, size_wh, align_corners))


def mean(maps: Sequence[np.ndarray]) -> np.ndarray:
    """Return the mean of maps of one size, float32."""
    return np.asarray(np.mean(maps, axis=0, dtype=np.float32))
