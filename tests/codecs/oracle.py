"""A plain, slow implementation of `paper` decoding: loops and whole-map scans, no code shared with the codec.

It restates the definition: mean of the two heatmap levels resized bilinearly to the input, 5x5 maxima, 30
candidates, threshold, matching by minimum total cost of round(distance) * 100 - score, a quarter pixel toward
the higher neighbour, half a pixel, score before filling, filling from the maximum of heat - round(distance).
Stated rules for ties: peaks and filled pixels in raster order, a quarter pixel toward the lower index, people
sorted by score and then in order of creation.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch.nn import functional as F


def resize(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    tensor = torch.from_numpy(np.ascontiguousarray(maps))[None]
    return F.interpolate(tensor, size=(height, width), mode="bilinear", align_corners=False)[0].numpy()


def decode(heat: np.ndarray, tags: np.ndarray, order, min_score=0.1, max_candidates=30, max_tag_dist=1.0):
    """Decode (K, H, W) heat and (T, K, H, W) tags at the size of the input.

    Returns a list of (score, [(x, y, value or 0.0)] * K), best first.
    """
    num_types, height, width = heat.shape
    people = []  # each: dict type -> (x, y, value, tag)
    for k in order:
        candidates = []
        for y in range(height):
            for x in range(width):
                window = heat[k, max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3]
                if heat[k, y, x] > min_score and heat[k, y, x] == window.max():
                    candidates.append((x, y, heat[k, y, x], tags[:, k, y, x].astype(np.float64)))
        candidates.sort(key=lambda c: -c[2])
        candidates = candidates[:max_candidates]
        joined = {}
        if people and candidates:
            means = [np.mean([member[3] for member in person.values()], axis=0) for person in people]
            distance = np.array([[np.linalg.norm(c[3] - mean) for mean in means] for c in candidates])
            cost = np.round(distance) * 100 - np.array([[float(c[2])] for c in candidates])
            for row, column in zip(*linear_sum_assignment(cost)):
                if distance[row, column] <= max_tag_dist:
                    joined[row] = column
        for row, candidate in enumerate(candidates):
            if row in joined:
                people[joined[row]][k] = candidate
            else:
                people.append({k: candidate})
    result = []
    for person in people:
        mean = np.mean([member[3] for member in person.values()], axis=0)
        score = np.float32(sum(float(m[2]) for m in person.values()) / num_types)
        keypoints = []
        for k in range(num_types):
            if k in person:
                x, y, value, _ = person[k]
            else:
                best = None
                for yy in range(height):
                    for xx in range(width):
                        worth = heat[k, yy, xx] - np.round(np.linalg.norm(tags[:, k, yy, xx] - mean))
                        if best is None or worth > best[0]:
                            best = (worth, xx, yy)
                x, y, value = best[1], best[2], heat[k, best[2], best[1]]
            keypoints.append((*refine(heat[k], x, y), float(value)) if value > 0 else (0.0, 0.0, 0.0))
        result.append((score, keypoints))
    result.sort(key=lambda person: -person[0])
    return result


def refine(heat: np.ndarray, x: int, y: int) -> tuple[float, float]:
    height, width = heat.shape
    dx = 0.25 if heat[y, min(x + 1, width - 1)] > heat[y, max(x - 1, 0)] else -0.25
    dy = 0.25 if heat[min(y + 1, height - 1), x] > heat[max(y - 1, 0), x] else -0.25
    return x + dx + 0.5, y + dy + 0.5
