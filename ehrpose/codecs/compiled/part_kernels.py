"""Numba loops of the part-affinity codec, bit-identical to their NumPy versions in ``part_fast``."""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit

__all__ = ["join", "score_pairs"]

compiled = njit(cache=True, nogil=True)
_EPSILON = 1e-6


@compiled
def score_pairs(
    field: np.ndarray,
    channels: np.ndarray,
    positions: np.ndarray,
    limbs: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    points: np.ndarray,
    min_field: float,
    min_share: float,
) -> Tuple[np.ndarray, np.ndarray]:
    """Return how well the field along each pair agrees with its direction: ``part_fast._score_pairs``."""
    height, width = field.shape[1:]
    num_points = len(points)
    scores, shares = np.zeros(len(limbs)), np.zeros(len(limbs))
    for q in range(len(limbs)):
        channel = channels[limbs[q]]
        first_x, first_y = positions[starts[q], 0], positions[starts[q], 1]
        way_x, way_y = positions[ends[q], 0] - first_x, positions[ends[q], 1] - first_y
        length = np.sqrt(way_x * way_x + way_y * way_y) + _EPSILON
        ux, uy = way_x / length, way_y / length
        total, count = 0.0, 0.0
        for place in range(num_points):
            share = points[place]
            x = min(max(first_x + share * way_x, 0.0), width - 1.0)
            y = min(max(first_y + share * way_y, 0.0), height - 1.0)
            x0, y0 = int(x), int(y)
            fx, fy = x - x0, y - y0
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            top = field[channel, y0, x0] * (1.0 - fx) + field[channel, y0, x1] * fx
            bottom = field[channel, y1, x0] * (1.0 - fx) + field[channel, y1, x1] * fx
            along = 0.0 + (top * (1.0 - fy) + bottom * fy) * ux
            top = field[channel + 1, y0, x0] * (1.0 - fx) + field[channel + 1, y0, x1] * fx
            bottom = field[channel + 1, y1, x0] * (1.0 - fx) + field[channel + 1, y1, x1] * fx
            along = along + (top * (1.0 - fy) + bottom * fy) * uy
            total += along
            if along > min_field:
                count += 1.0
            elif (count + num_points - 1 - place) / num_points < min_share:
                break  # too few points can still count: most pairs belong to two people
        if count / num_points >= min_share:
            scores[q], shares[q] = total / num_points, count / num_points
    return scores, shares


@compiled
def join(
    starts: np.ndarray, ends: np.ndarray, types: np.ndarray, num_parts: int
) -> Tuple[np.ndarray, np.ndarray]:
    """Join candidates by links, best first: ``part_fast._join``."""
    number = len(types)
    owner, used = np.full(number, -1, np.int64), np.zeros(len(starts), np.bool_)
    has = np.zeros((number, num_parts), np.bool_)
    num_people = 0
    for link in range(len(starts)):
        for end in range(2):
            candidate = starts[link] if end == 0 else ends[link]
            if owner[candidate] < 0:
                owner[candidate] = num_people
                has[num_people, types[candidate]] = True
                num_people += 1
        one, other = owner[starts[link]], owner[ends[link]]
        if one == other:
            used[link] = True
            continue
        clash = False
        for part in range(num_parts):
            if has[one, part] and has[other, part]:
                clash = True
                break
        if clash:
            continue
        used[link] = True
        for part in range(num_parts):
            has[one, part] = has[one, part] or has[other, part]
            has[other, part] = False
        for candidate in range(number):
            if owner[candidate] == other:
                owner[candidate] = one
    return owner, used
