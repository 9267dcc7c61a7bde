"""``paper`` decoding, and the steps that it shares with ``fast`` mode.

Axes: K keypoint types, T tag length, N people, M candidates of a type.
"""

from __future__ import annotations

from typing import List, Sequence, Tuple

import numpy as np

from ehrpose.codecs.assembly import assemble, by_score, fill, group_peaks
from ehrpose.codecs.heatmap import find_peaks, quarter_shift, rank_peaks, resize_maps
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.codecs.tag_search import find_upsampled_by_tag
from ehrpose.codecs.upsampling import UpsampledMaps, find_upsampled_peaks
from ehrpose.structures import Maps, People


def decode_paper(scales: Sequence[Maps], input_wh: Tuple[int, int], settings: DecodeSettings) -> People:
    """Decode at the resolution of the network input, which is how the paper's AP is measured.

    Heatmaps of all levels and scales are resized to the input and averaged, and the tags of the first scale resized;
    then 5x5 non-maximum suppression, grouping, a shift of a quarter pixel toward the higher neighbour, and of half a
    pixel more unless the targets are unbiased.
    """
    if len(scales) > 1 or settings.unbiased:
        return _decode_paper_whole(scales, input_wh, settings)
    levels = [level for level in (scales[0].heat4, scales[0].heat2) if level is not None]
    num_types = len(levels[0])
    num_tags = len(scales[0].tag4) // num_types
    heat, tags = UpsampledMaps(levels), UpsampledMaps([scales[0].tag4])

    def locate(types: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        left, right = np.maximum(xs - 1, 0), np.minimum(xs + 1, input_wh[0] - 1)
        above, below = np.maximum(ys - 1, 0), np.minimum(ys + 1, input_wh[1] - 1)
        around = np.concatenate([ys, ys, above, below]), np.concatenate([left, right, xs, xs])
        values = heat.pixels(np.tile(types, 4), *around).reshape(4, -1)
        shifts = np.where(values[1::2] > values[::2], 0.75, 0.25)
        return (np.stack([xs, ys]) + shifts).T

    types, ys, xs, scores = find_upsampled_peaks(heat, 2, settings.min_score)
    shape = num_types, input_wh[1], input_wh[0]
    peaks = rank_peaks((types * shape[1] + ys) * shape[2] + xs, scores, shape, settings.max_candidates)
    channels = (np.arange(num_tags)[:, None] * num_types + peaks.types).ravel()
    peak_tags = tags.pixels(channels, np.tile(peaks.ys, num_tags), np.tile(peaks.xs, num_tags))
    peak_tags = peak_tags.reshape(num_tags, -1).T
    groups = group_peaks(peaks, peaks.scores, peak_tags, settings)
    people = assemble(groups, peaks, locate(peaks.types, peaks.ys, peaks.xs), peaks.scores)
    owners, types = np.nonzero(groups.candidate < 0)
    if settings.fill_missing and len(owners):
        ys, xs = find_upsampled_by_tag(heat, tags, types, groups.tags[owners])
        fill(people, owners, types, locate(types, ys, xs), heat.pixels(types, ys, xs))
    return by_score(people, groups.tags)


def _decode_paper_whole(
    scales: Sequence[Maps], input_wh: Tuple[int, int], settings: DecodeSettings
) -> People:
    """Decode several scales or unbiased maps by resizing whole maps."""
    heat = _mean([_full_heat(maps, input_wh, settings.unbiased) for maps in scales])
    num_types = len(heat)
    tags = resize_maps(scales[0].tag4, input_wh, settings.unbiased)
    tags = tags.reshape(-1, num_types, *tags.shape[1:])
    shift = 0.0 if settings.unbiased else 0.5

    def locate(types: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        return quarter_shift(heat, types, ys, xs) + shift

    peaks = find_peaks(heat, 5, settings.min_score, settings.max_candidates)
    peak_tags = tags[:, peaks.types, peaks.ys, peaks.xs].T
    groups = group_peaks(peaks, peaks.scores, peak_tags, settings)
    people = assemble(groups, peaks, locate(peaks.types, peaks.ys, peaks.xs), peaks.scores)
    if settings.fill_missing and len(groups):
        missing = groups.candidate < 0
        for k in np.flatnonzero(missing.any(axis=0)):
            lacking = np.flatnonzero(missing[:, k])
            ys, xs = np.divmod(find_by_tag(heat[k], tags[:, k], groups.tags[lacking]), heat.shape[2])
            types = np.full(len(lacking), k)
            fill(people, lacking, types, locate(types, ys, xs), heat[k, ys, xs])
    return by_score(people, groups.tags)


def _full_heat(maps: Maps, input_wh: Tuple[int, int], align_corners: bool) -> np.ndarray:
    levels = [level for level in (maps.heat4, maps.heat2) if level is not None]
    return _mean([resize_maps(level, input_wh, align_corners) for level in levels])


def _mean(maps: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(maps, axis=0, dtype=np.float32))


def find_by_tag(
    heatmap: np.ndarray, tag_maps: np.ndarray, person_tags: np.ndarray, num_top: int = 1024
) -> np.ndarray:
    """Return, for each person, the flat index of the highest ``heat - round(tag distance)``, the first on a tie.

    Scanning the map for every person is what makes the usual decoder slow. In descending order of heat, the first
    pixel with rounded distance 0 is the answer, provided that no pixel with rounded distance 1 or more can beat it,
    that is, unless it lies 1 or more below the highest. Only if that fails is the map scanned.

    Args:
        heatmap: (H, W).
        tag_maps: (T, H, W).
        person_tags: (N, T).
        num_top: Pixels checked before the map is scanned.
    """
    heat = heatmap.ravel()
    flat_tags = tag_maps.reshape(len(tag_maps), -1)
    num_top = min(num_top, heat.size)
    top = np.argpartition(-heat, num_top - 1)[:num_top]
    floor = heat[top].min() if num_top < heat.size else -np.inf
    top = top[np.lexsort((top, -heat[top]))]
    near = _rounded_distance(flat_tags[:, top], person_tags) == 0
    first = near.argmax(axis=1)
    pixels = top[first]
    value = heat[pixels]
    sure = near[np.arange(len(near)), first] & (value > floor) & (value > heat[top[0]] - 1)
    for n in np.flatnonzero(~sure):
        pixels[n] = np.argmax(heat - _rounded_distance(flat_tags, person_tags[n : n + 1])[0])
    return pixels


def _rounded_distance(tags: np.ndarray, person_tags: np.ndarray) -> np.ndarray:
    """Return (N, P) rounded distances between (T, P) pixel tags and (N, T) person tags."""
    difference = tags[None].astype(np.float64) - person_tags[:, :, None]
    return np.round(np.sqrt((difference**2).sum(axis=1)))


def merge_scales(scales: Sequence[Maps], unbiased: bool) -> Maps:
    """Return the maps of the first scale with the heatmaps of all scales averaged."""
    if len(scales) == 1:
        return scales[0]
    merged: List[np.ndarray] = []
    for name in ("heat4", "heat2"):
        levels = [getattr(maps, name) for maps in scales]
        if levels[0] is None:
            merged.append(None)  # type: ignore[arg-type]
            continue
        size_wh = (levels[0].shape[2], levels[0].shape[1])
        merged.append(_mean([resize_maps(m, size_wh, unbiased) for m in levels]))
    return scales[0]._replace(heat4=merged[0], heat2=merged[1])
