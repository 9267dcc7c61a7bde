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
    """Decode the maps of one image; arguments and result as for ``decode_paper``."""
    levels = [[m for m in (maps.heat4, maps.heat2) if m is not None] for maps in scales]
    averages = [_mean([resize_maps(m, input_wh, settings.unbiased) for m in level]) for level in levels]
    heat = _mean(averages)
    num_types, height, width = heat.shape
    tags = resize_maps(scales[0].tag4, input_wh, settings.unbiased).reshape(-1, num_types, height, width)
    people: List[Dict[int, Candidate]] = []  # keypoint type to its candidate
    for k in settings.order:
        candidates = _candidates(heat[k], tags[:, k], settings)
        joined = {}
        if people and candidates:
            means = [np.mean([member[3] for member in person.values()], axis=0) for person in people]
            distance = np.array([[np.sqrt(((c[3] - mean) ** 2).sum()) for mean in means] for c in candidates])
            cost = np.round(distance) * 100 - np.array([[float(c[2])] for c in candidates])
            pairs = zip(*linear_sum_assignment(cost))
            joined = {row: column for row, column in pairs if distance[row, column] <= settings.max_tag_dist}
        for row, candidate in enumerate(candidates):
            if row in joined:
                people[joined[row]][k] = candidate
            else:
                people.append({k: candidate})
    keypoints = np.zeros((len(people), num_types, 2), np.float32)
    keypoint_scores = np.zeros((len(people), num_types), np.float32)
    scores, person_tags = np.zeros(len(people), np.float32), np.zeros((len(people), len(tags)), np.float32)
    for n, person in enumerate(people):
        mean = np.mean([member[3] for member in person.values()], axis=0)
        person_tags[n] = mean
        for k, (x, y, score, _) in person.items():
            keypoints[n, k] = _refine(heat[k], x, y, settings.unbiased)
            keypoint_scores[n, k] = score
        scores[n] = keypoint_scores[n].mean()
        for k in range(num_types) if settings.fill_missing else ():
            if k not in person:
                distance = np.sqrt(((tags[:, k].astype(np.float64) - mean[:, None, None]) ** 2).sum(axis=0))
                y, x = divmod(int(np.argmax(heat[k] - np.round(distance))), width)
                if heat[k, y, x] > 0:
                    keypoints[n, k] = _refine(heat[k], x, y, settings.unbiased)
                    keypoint_scores[n, k] = heat[k, y, x]
    best = np.argsort(-scores, kind="stable")
    return People(keypoints[best], keypoint_scores[best], scores[best], person_tags[best])


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


def _refine(heat: np.ndarray, x: int, y: int, unbiased: bool) -> Tuple[float, float]:
    """Return x and y shifted by a quarter pixel toward the higher neighbour, and by half a pixel unless unbiased."""
    height, width = heat.shape
    dx = 0.25 if heat[y, min(x + 1, width - 1)] > heat[y, max(x - 1, 0)] else -0.25
    dy = 0.25 if heat[min(y + 1, height - 1), x] > heat[max(y - 1, 0), x] else -0.25
    shift = 0.0 if unbiased else 0.5
    return x + dx + shift, y + dy + shift
