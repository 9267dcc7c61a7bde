"""Reference implementation of ``paper`` decoding: step by step, with scans of whole maps.

The codec's results and speed are compared with it. It shares the resizing of maps with the codec and nothing
else.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from ehrpose.codecs.heatmap import resize_maps
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.structures import Maps, People

Candidate = Tuple[int, int, Any, np.ndarray]  # x, y, score, tag


def decode_reference(scales: Sequence[Maps], input_wh: Tuple[int, int], settings: DecodeSettings) -> People:
    """Decode the maps of one image; arguments and result as for ``decode_paper``, with ``refine="quarter"``."""
    resized = [_resized(maps, input_wh, settings) for maps in scales]
    heat = _mean([one for one, _ in resized])
    num_types, height, width = heat.shape
    tagged = resized if settings.scale_tags == "all" else resized[:1]
    tags = np.concatenate([one.reshape(-1, num_types, height, width) for _, one in tagged])
    shift = 0.0
    if not settings.unbiased:
        levels = [level for level in (scales[0].heat4, scales[0].heat2) if level is not None]
        shift = 0.5 + (settings.cell_offset - 0.5) * (width / levels[0].shape[2])
    people = _grouped(heat, tags, shift, settings)
    keypoints = np.zeros((len(people), num_types, 2), np.float32)
    keypoint_scores = np.zeros((len(people), num_types), np.float32)
    scores, person_tags = np.zeros(len(people), np.float32), np.zeros((len(people), len(tags)), np.float32)
    for n, person in enumerate(people):
        mean = np.mean([member[3] for member in person.values()], axis=0)
        person_tags[n] = mean
        for k, (x, y, score, _) in person.items():
            keypoints[n, k] = _refine(heat[k], x, y, shift)
            keypoint_scores[n, k] = score
        scores[n] = keypoint_scores[n].mean()
        for k in range(num_types) if settings.fill_missing else ():
            if k not in person:
                distance = np.sqrt(((tags[:, k].astype(np.float64) - mean[:, None, None]) ** 2).sum(axis=0))
                y, x = divmod(int(np.argmax(heat[k] - np.round(distance))), width)
                if heat[k, y, x] > 0:
                    keypoints[n, k] = _refine(heat[k], x, y, shift)
                    keypoint_scores[n, k] = heat[k, y, x]
    best = np.argsort(-scores, kind="stable")
    return People(keypoints[best], keypoint_scores[best], scores[best], person_tags[best])


def _grouped(
    heat: np.ndarray, tags: np.ndarray, shift: float, settings: DecodeSettings
) -> List[Dict[int, Candidate]]:
    """Return the people, each as keypoint type to candidate."""
    people: List[Dict[int, Candidate]] = []  # keypoint type to its candidate
    for k in settings.order:
        candidates = _candidates(heat[k], tags[:, k], settings)
        joined = {}
        if people and candidates:
            means = [np.mean([member[3] for member in person.values()], axis=0) for person in people]
            distance = np.array([[np.sqrt(((c[3] - mean) ** 2).sum()) for mean in means] for c in candidates])
            counted = distance
            if settings.dist_reweight:
                at = [_refine(heat[k], c[0], c[1], shift) for c in candidates]
                members = [[_refine(heat[j], m[0], m[1], shift) for j, m in one.items()] for one in people]
                counted = _reweighted(distance, at, members, settings.max_tag_dist)
            cost = np.round(counted) * 100 - np.array([[float(c[2])] for c in candidates])
            pairs = zip(*linear_sum_assignment(cost))
            joined = {row: column for row, column in pairs if distance[row, column] <= settings.max_tag_dist}
        for row, candidate in enumerate(candidates):
            if row in joined:
                people[joined[row]][k] = candidate
            else:
                people.append({k: candidate})
    return people


def _resized(
    maps: Maps, input_wh: Tuple[int, int], settings: DecodeSettings
) -> Tuple[np.ndarray, np.ndarray]:
    """Return the mean of the heatmaps, and the tags, of one scale at the size of the input."""
    levels = [level for level in (maps.heat4, maps.heat2) if level is not None]
    tags = maps.tag4 if maps.tag4 is not None else maps.tag2
    align = settings.unbiased
    if settings.resize == "two_step" and len(levels) == 2:
        size_wh = levels[1].shape[:0:-1]
        levels = [_mean([resize_maps(levels[0], size_wh, align), levels[1]])]
        tags = resize_maps(tags, size_wh, align)
    return _mean([resize_maps(level, input_wh, align) for level in levels]), resize_maps(
        tags, input_wh, align
    )


def _reweighted(distance: np.ndarray, at: Any, members: Any, max_tag_dist: float) -> np.ndarray:
    """Return the tag distances (candidates, people) that count, given the positions of candidates and members."""
    result = distance.copy()
    for column, places in enumerate(members):
        centre = np.mean(places, axis=0)
        apart = [np.sqrt(((np.asarray(place) - centre) ** 2).sum()) for place in at]
        for row in range(len(at)):
            if distance[row, column] <= max_tag_dist:
                result[row, column] *= apart[row] / (min(apart) + 1e-10)
    return result


def _mean(maps: Sequence[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(maps, axis=0, dtype=np.float32))


def _candidates(heat: np.ndarray, tags: np.ndarray, settings: DecodeSettings) -> List[Candidate]:
    """Return (x, y, score, tag) of the 5x5 maxima above the threshold, highest first."""
    height, width = heat.shape
    padded = np.pad(heat, 2, constant_values=-np.inf)
    highest = np.max([padded[y : y + height, x : x + width] for y in range(5) for x in range(5)], axis=0)
    ys, xs = np.nonzero((heat == highest) & (heat > settings.min_score))
    best = np.argsort(-heat[ys, xs], kind="stable")[: settings.max_candidates]
    return [(x, y, heat[y, x], tags[:, y, x].astype(np.float64)) for y, x in zip(ys[best], xs[best])]


def _refine(heat: np.ndarray, x: int, y: int, shift: float) -> Tuple[float, float]:
    """Return x and y moved by a quarter pixel toward the higher neighbour, and by ``shift``."""
    height, width = heat.shape
    dx = 0.25 if heat[y, min(x + 1, width - 1)] > heat[y, max(x - 1, 0)] else -0.25
    dy = 0.25 if heat[min(y + 1, height - 1), x] > heat[max(y - 1, 0), x] else -0.25
    return x + dx + shift, y + dy + shift
