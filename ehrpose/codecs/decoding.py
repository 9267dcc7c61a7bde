"""From maps to people: the ``paper`` mode and the ``fast`` mode share candidates, grouping and filling.

Axes: K keypoint types, T tag length, N people, M candidates of a type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, List, Sequence, Tuple

import numpy as np

from ehrpose.codecs.grouping import Groups, group_by_tag
from ehrpose.codecs.heatmap import find_peaks, parabola_peak, quarter_shift, resize_maps, sample_bilinear
from ehrpose.structures import Maps, People


@dataclass(frozen=True)
class DecodeSettings:
    """What decoding needs to know; see ``AssociativeEmbedding`` for the meanings."""

    order: Tuple[int, ...]
    unbiased: bool
    max_candidates: int
    min_score: float
    max_tag_dist: float
    fill_missing: bool


def decode_paper(scales: Sequence[Maps], input_wh: Tuple[int, int], settings: DecodeSettings) -> People:
    """Decode at the size of the network input, as the paper's AP is measured.

    Heatmaps of all levels and scales are resized to the input and averaged, tags of the first scale resized;
    5x5 non-maximum suppression; grouping; a quarter pixel toward the higher neighbour; half a pixel more
    unless the targets are unbiased.
    """
    heat = _mean([_full_heat(maps, input_wh, settings.unbiased) for maps in scales])
    num_types = len(heat)
    tags = resize_maps(scales[0].tag4, input_wh, settings.unbiased)
    tags = tags.reshape(-1, num_types, *tags.shape[1:])
    shift = 0.0 if settings.unbiased else 0.5
    positions, scores, candidate_tags = [], [], []
    for k in range(num_types):
        xs, ys, score = find_peaks(heat[k], 5, settings.min_score, settings.max_candidates)
        positions.append(quarter_shift(heat[k], xs, ys) + shift)
        scores.append(score)
        candidate_tags.append(tags[:, k, ys, xs].T)
    groups = group_by_tag(scores, candidate_tags, settings.order, settings.max_tag_dist)

    def locate(k: int, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        return quarter_shift(heat[k], xs, ys) + shift

    return _assemble(groups, positions, scores, heat, tags, locate, settings)


def _full_heat(maps: Maps, input_wh: Tuple[int, int], align_corners: bool) -> np.ndarray:
    levels = [level for level in (maps.heat4, maps.heat2) if level is not None]
    return _mean([resize_maps(level, input_wh, align_corners) for level in levels])


def _mean(maps: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(maps, axis=0, dtype=np.float32))


def decode_fast(maps: Maps, input_wh: Tuple[int, int], settings: DecodeSettings) -> People:
    """Decode at the finest level's own size with sub-pixel positions; no map is resized.

    Peaks come from the finest heatmap; their scores are averaged with the coarser level's, read by bilinear
    interpolation at the peak, and their tags are those of the nearest pixel.
    """
    fine = maps.heat4 if maps.heat2 is None else maps.heat2
    geometry = _Geometry(input_wh, settings.unbiased)
    fine_wh, coarse_wh = (fine.shape[2], fine.shape[1]), (maps.heat4.shape[2], maps.heat4.shape[1])
    num_types = len(fine)
    coarse_tags = maps.tag4.reshape(-1, num_types, *maps.tag4.shape[1:])
    positions, scores, tags = [], [], []
    for k in range(num_types):
        xs, ys, score = find_peaks(fine[k], 3, settings.min_score, settings.max_candidates)
        xy = geometry.to_input(parabola_peak(fine[k], xs, ys), fine_wh)
        at_coarse = geometry.to_map(xy, coarse_wh)
        if fine is not maps.heat4:
            score = 0.5 * (score + sample_bilinear(maps.heat4[k : k + 1], at_coarse)[0])
        positions.append(xy)
        scores.append(score)
        # Training holds a tag to its person at one pixel only: the nearest is better than a mix of neighbours.
        column = np.clip(np.rint(at_coarse[:, 0]).astype(int), 0, coarse_wh[0] - 1)
        row = np.clip(np.rint(at_coarse[:, 1]).astype(int), 0, coarse_wh[1] - 1)
        tags.append(coarse_tags[:, k, row, column].T)
    groups = group_by_tag(scores, tags, settings.order, settings.max_tag_dist)

    def locate(k: int, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
        start = geometry.to_map(geometry.to_input(np.stack([xs, ys], axis=-1), coarse_wh), fine_wh)
        fine_xs, fine_ys = _climb(fine[k], start)
        return geometry.to_input(parabola_peak(fine[k], fine_xs, fine_ys), fine_wh)

    return _assemble(groups, positions, scores, maps.heat4, coarse_tags, locate, settings)


def _climb(heatmap: np.ndarray, start: np.ndarray, reach: float = 1.5) -> Tuple[np.ndarray, np.ndarray]:
    """Return the highest pixel within ``reach`` of each (M, 2) start position, x and y apart."""
    height, width = heatmap.shape
    # Start positions lie on halves: a window of whole pixels around them is the same for a mirrored map.
    steps = np.arange(int(2 * reach) + 1)
    low = np.ceil(start - reach - 1e-6).astype(int)
    xs = np.minimum(low[:, :1] + steps, np.floor(start[:, :1] + reach + 1e-6).astype(int))
    ys = np.minimum(low[:, 1:] + steps, np.floor(start[:, 1:] + reach + 1e-6).astype(int))
    xs, ys = np.clip(xs, 0, width - 1), np.clip(ys, 0, height - 1)
    best = heatmap[ys[:, :, None], xs[:, None]].reshape(len(start), len(steps) ** 2).argmax(axis=1)
    rows = np.arange(len(start))
    return xs[rows, best % len(steps)], ys[rows, best // len(steps)]


class _Geometry:
    """Moves positions between network input and maps of any size."""

    def __init__(self, input_wh: Tuple[int, int], unbiased: bool):
        self.input_wh = np.asarray(input_wh, np.float64)
        self.unbiased = unbiased

    def to_input(self, positions: np.ndarray, map_wh: Tuple[int, int]) -> np.ndarray:
        if self.unbiased:
            return positions * ((self.input_wh - 1) / (np.asarray(map_wh) - 1))
        return (positions + 0.5) * (self.input_wh / np.asarray(map_wh))

    def to_map(self, positions: np.ndarray, map_wh: Tuple[int, int]) -> np.ndarray:
        if self.unbiased:
            return positions * ((np.asarray(map_wh) - 1) / (self.input_wh - 1))
        return positions * (np.asarray(map_wh) / self.input_wh) - 0.5


def _assemble(
    groups: Groups,
    positions: Sequence[np.ndarray],
    scores: Sequence[np.ndarray],
    heat: np.ndarray,
    tags: np.ndarray,
    locate: Callable[[int, np.ndarray, np.ndarray], np.ndarray],
    settings: DecodeSettings,
) -> People:
    """Put the members of each person together, fill what is missing, sort by score."""
    num_people, num_types = groups.candidate.shape
    keypoints = np.zeros((num_people, num_types, 2), np.float64)
    keypoint_scores = np.zeros((num_people, num_types), np.float32)
    for k in range(num_types):
        has = np.flatnonzero(groups.candidate[:, k] >= 0)
        keypoints[has, k] = positions[k][groups.candidate[has, k]]
        keypoint_scores[has, k] = scores[k][groups.candidate[has, k]]
    person_scores = keypoint_scores.mean(axis=1) if num_people else np.zeros(0, np.float32)
    if settings.fill_missing and num_people:
        for k in range(num_types):
            lacking = np.flatnonzero(groups.candidate[:, k] < 0)
            if not len(lacking):
                continue
            pixels = find_by_tag(heat[k], tags[:, k], groups.tags[lacking])
            ys, xs = np.divmod(pixels, heat.shape[2])
            values = heat[k, ys, xs]
            found = values > 0
            keypoints[lacking[found], k] = locate(k, xs[found], ys[found])
            keypoint_scores[lacking[found], k] = values[found]
    best = np.argsort(-person_scores, kind="stable")
    return People(
        keypoints[best].astype(np.float32),
        keypoint_scores[best],
        person_scores[best].astype(np.float32),
        groups.tags[best].astype(np.float32),
    )


def find_by_tag(
    heatmap: np.ndarray, tag_maps: np.ndarray, person_tags: np.ndarray, num_top: int = 1024
) -> np.ndarray:
    """Return, for each person, the flat pixel of the highest ``heat - round(tag distance)``, first on a tie.

    Scanning the map for every person is what makes the usual decoder slow. In falling order of heat the first
    pixel whose rounded distance is 0 is the answer, provided that no pixel of rounded distance 1 or more can
    beat it, that is, unless it lies more than 1 below the highest. Only when that fails the map is scanned.

    Args:
        heatmap: (H, W).
        tag_maps: (T, H, W).
        person_tags: (N, T).
        num_top: Pixels that are looked at before a scan.
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
