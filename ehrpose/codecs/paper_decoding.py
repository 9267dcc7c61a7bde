"""``paper`` decoding, and the steps that it shares with ``fast`` mode.

Axes: K keypoint types, T tag length, N people, M candidates of a type.
"""

from __future__ import annotations

from typing import Dict, Sequence, Tuple

import numpy as np

from ehrpose.codecs.assembly import assemble, by_score, fill, group_peaks
from ehrpose.codecs.heatmap import (
    at_finest,
    coarsest,
    find_peaks,
    heat_levels,
    mean,
    quarter_shift,
    rank_peaks,
    resize_maps,
)
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.codecs.tag_search import find_upsampled_by_tag
from ehrpose.codecs.upsampling import UpsampledMaps, find_upsampled_peaks
from ehrpose.structures import Maps, People


def decode_paper(scales: Sequence[Maps], input_wh: Tuple[int, int], settings: DecodeSettings) -> People:
    """Decode at the resolution of the network input, which is how the paper's AP is measured.

    Heatmaps of all levels and scales are resized to the input and averaged, and the tags of the first scale resized;
    then 5x5 non-maximum suppression, grouping, a shift of a quarter pixel toward the higher neighbour, and of half a
    pixel more unless the targets are unbiased. Options change the resizing, the shift, and whose tags are taken.
    """
    if len(scales) > 1 or settings.unbiased or input_wh[0] % 4 or input_wh[1] % 4 or not _by_blocks(settings):
        return _decode_paper_whole(scales, input_wh, settings)
    maps = at_finest(scales[0], False) if settings.resize == "two_step" else scales[0]
    levels, tag_maps = heat_levels(maps), coarsest(maps)[1]
    num_types = len(levels[0])
    num_tags = len(tag_maps) // num_types
    stride = input_wh[0] // levels[0].shape[2]
    heat, tags = UpsampledMaps(levels, stride), UpsampledMaps([tag_maps], stride)

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
    positions = locate(peaks.types, peaks.ys, peaks.xs)
    groups = group_peaks(peaks, positions, peaks.scores, peak_tags, settings)
    people = assemble(groups, peaks, positions, peaks.scores)
    owners, types = np.nonzero(groups.candidate < 0)
    if settings.fill_missing and len(owners):
        ys, xs = find_upsampled_by_tag(heat, tags, types, groups.tags[owners])
        fill(people, owners, types, locate(types, ys, xs), heat.pixels(types, ys, xs))
    return by_score(people, groups.tags)


def _by_blocks(settings: DecodeSettings) -> bool:
    """Whether the blocks of ``upsampling`` suffice, without whole maps."""
    return settings.refine == "quarter" and settings.cell_offset == 0.5


def _decode_paper_whole(
    scales: Sequence[Maps], input_wh: Tuple[int, int], settings: DecodeSettings
) -> People:
    """Decode by resizing whole maps."""
    if settings.resize == "two_step":
        scales = [at_finest(maps, settings.unbiased) for maps in scales]
    heat = mean([_full_heat(maps, input_wh, settings.unbiased) for maps in scales])
    tags = _full_tags(scales, input_wh, settings)
    shift = 0.0
    if not settings.unbiased:
        coarse = coarsest(scales[0])[0]
        shift = 0.5 + (settings.cell_offset - 0.5) * (input_wh[0] / coarse.shape[2])

    def locate(types: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
        return quarter_shift(heat, types, ys, xs) + shift

    peaks = find_peaks(heat, 5, settings.min_score, settings.max_candidates)
    peak_tags = tags[:, peaks.types, peaks.ys, peaks.xs].T
    at = (peaks.types, peaks.ys, peaks.xs)
    positions = _dark_peak(heat, *at) + shift if settings.refine == "dark" else locate(*at)
    groups = group_peaks(peaks, positions, peaks.scores, peak_tags, settings)
    people = assemble(groups, peaks, positions, peaks.scores)
    if settings.fill_missing and len(groups):
        missing = groups.candidate < 0
        for k in np.flatnonzero(missing.any(axis=0)):
            lacking = np.flatnonzero(missing[:, k])
            ys, xs = np.divmod(find_by_tag(heat[k], tags[:, k], groups.tags[lacking]), heat.shape[2])
            types = np.full(len(lacking), k)
            fill(people, lacking, types, locate(types, ys, xs), heat[k, ys, xs])
    return by_score(people, groups.tags)


def _dark_peak(heat: np.ndarray, types: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    from ehrpose.codecs.dark import dark_peak  # only this option needs it

    return dark_peak(heat, types, ys, xs)


def _full_heat(maps: Maps, input_wh: Tuple[int, int], align_corners: bool) -> np.ndarray:
    return mean([resize_maps(level, input_wh, align_corners) for level in heat_levels(maps)])


def _full_tags(scales: Sequence[Maps], input_wh: Tuple[int, int], settings: DecodeSettings) -> np.ndarray:
    """Return (T, K, H, W) tags at the size of the input."""
    num_types = len(coarsest(scales[0])[0])
    maps = [coarsest(one)[1] for one in _tagged(scales, settings)]
    resized = [resize_maps(one, input_wh, settings.unbiased) for one in maps]
    tags = resized[0] if len(resized) == 1 else np.concatenate(resized)
    return tags.reshape(-1, num_types, *tags.shape[1:])


def _tagged(scales: Sequence[Maps], settings: DecodeSettings) -> Sequence[Maps]:
    """Return the scales whose tags count."""
    return scales if settings.scale_tags == "all" else scales[:1]


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


def merge_scales(scales: Sequence[Maps], settings: DecodeSettings) -> Maps:
    """Return the maps of the first scale with the heatmaps of all scales averaged, and the tags that count."""
    if len(scales) == 1:
        return scales[0]
    tags = "tag2" if scales[0].heat4 is None else "tag4"
    merged: Dict[str, np.ndarray] = {}
    for name in ("heat4", "heat2", tags):
        levels = [getattr(maps, name) for maps in (_tagged(scales, settings) if name == tags else scales)]
        if levels[0] is not None:
            size_wh = (levels[0].shape[2], levels[0].shape[1])
            resized = [resize_maps(level, size_wh, settings.unbiased) for level in levels]
            merged[name] = np.concatenate(resized) if name == tags else mean(resized)
    return scales[0]._replace(**merged)
