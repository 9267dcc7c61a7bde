"""Numba loops that tell left from right, bit-identical to ``sides._separate``.

Axes: K keypoint types, T tag length, N people, M candidates, P pairs.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True)


@compiled
def separate(
    keypoints: np.ndarray, keypoint_scores: np.ndarray, person_tags: np.ndarray, area: np.ndarray,
    positions: np.ndarray, scores: np.ndarray, tags: np.ndarray, offsets: np.ndarray, pairs: np.ndarray,
    near: np.ndarray, settings: Tuple[float, float, float, float, float],
) -> None:  # fmt: skip
    """Do what ``sides._separate`` does; ``sides.separate_sides`` explains it.

    Args:
        keypoints: (N, K, 2) float64, input px, changed in place.
        keypoint_scores: (N, K) float64, changed in place.
        person_tags: (N, T) float64.
        area: (N,) px^2.
        positions: (M, 2) float64.
        scores: (M,) float64.
        tags: (M, T) float64.
        offsets: (K + 1,).
        pairs: (P, 4) left, right and the other ends of their limbs.
        near: (P,) largest squared distance of one place, as a fraction of the area.
        settings: Largest squared tag distance, ratio, limb weight, squared reach and squared least reach.
    """
    max_tag_square, ratio, limb_weight, reach_square, least_square = settings
    mine = np.empty(len(scores), np.bool_)
    before = keypoints.copy()
    scored = keypoint_scores > 0
    for n in range(len(keypoints)):
        for p in range(len(pairs)):
            left, right, left_end, right_end = pairs[p]
            lowest = min(
                min(keypoint_scores[n, left], keypoint_scores[n, right]),
                min(keypoint_scores[n, left_end], keypoint_scores[n, right_end]),
            )
            if lowest <= 0:
                continue
            for k in (left, right):
                for m in range(offsets[k], offsets[k + 1]):
                    squares = 0.0
                    for t in range(tags.shape[1]):
                        difference = tags[m, t] - person_tags[n, t]
                        squares += difference * difference
                    mine[m] = squares <= max_tag_square and scores[m] > 0
            limit = near[p] * area[n]
            ax, ay = keypoints[n, left]
            bx, by = keypoints[n, right]
            lx, ly = keypoints[n, left_end]
            rx, ry = keypoints[n, right_end]
            at_one_place = _square(ax - bx, ay - by) <= limit
            if at_one_place:
                if keypoint_scores[n, right] > keypoint_scores[n, left]:
                    ax, ay = bx, by
                first_left = _best_at(positions, scores, mine, offsets, left, ax, ay, limit)
                first_right = _best_at(positions, scores, mine, offsets, right, ax, ay, limit)
                mx, my = (lx + rx) / 2, (ly + ry) / 2
                reach = reach_square * max(_square(ax - mx, ay - my), least_square)
                highest, second_left, second_right = -1.0, 0.0, 0.0
                for k in (left, right):
                    for m in range(offsets[k], offsets[k + 1]):
                        x, y = positions[m]
                        if (
                            not mine[m]
                            or _square(x - ax, y - ay) <= limit
                            or _square(x - mx, y - my) >= reach
                            or _taken(before, scored, n, left, right, x, y, limit)
                        ):
                            continue
                        of_left = _best_at(positions, scores, mine, offsets, left, x, y, limit)
                        of_right = _best_at(positions, scores, mine, offsets, right, x, y, limit)
                        if of_left + of_right > highest:
                            highest, second_left, second_right = of_left + of_right, of_left, of_right
                            bx, by = x, y
                if highest < 0 or highest < ratio * (first_left + first_right):
                    continue
            else:
                first_left = _best_at(positions, scores, mine, offsets, left, ax, ay, limit)
                first_right = _best_at(positions, scores, mine, offsets, right, ax, ay, limit)
                second_left = _best_at(positions, scores, mine, offsets, left, bx, by, limit)
                second_right = _best_at(positions, scores, mine, offsets, right, bx, by, limit)
            straight, crossed = first_left + second_right, second_left + first_right
            longer = (np.sqrt(_square(lx - bx, ly - by)) + np.sqrt(_square(rx - ax, ry - ay))) - (
                np.sqrt(_square(lx - ax, ly - ay)) + np.sqrt(_square(rx - bx, ry - by))
            )
            keep = (straight - crossed) + limb_weight * longer / np.sqrt(area[n]) >= 0
            if at_one_place:
                if keep:
                    keypoint_scores[n, right] = second_right if second_right > 0 else second_left
                else:
                    keypoint_scores[n, left] = second_left if second_left > 0 else second_right
            elif not keep:
                of_left = keypoint_scores[n, left]
                keypoint_scores[n, left] = keypoint_scores[n, right]
                keypoint_scores[n, right] = of_left
            first, second = (left, right) if keep else (right, left)
            keypoints[n, first, 0], keypoints[n, first, 1] = ax, ay
            keypoints[n, second, 0], keypoints[n, second, 1] = bx, by


@compiled
def _taken(
    before: np.ndarray, scored: np.ndarray, n: int, left: int, right: int, x: float, y: float, limit: float
) -> bool:  # fmt: skip
    """Return whether a person before the n-th has a keypoint of the pair at this place."""
    for other in range(n):
        for k in (left, right):
            if scored[other, k] and _square(before[other, k, 0] - x, before[other, k, 1] - y) <= limit:
                return True
    return False


@compiled
def _square(x: float, y: float) -> float:
    return x * x + y * y


@compiled
def _best_at(
    positions: np.ndarray, scores: np.ndarray, mine: np.ndarray, offsets: np.ndarray, k: int,
    x: float, y: float, limit: float,
) -> float:  # fmt: skip
    """Return the highest score of the person's candidates of type k at a place, 0 if there are none."""
    best = 0.0
    for m in range(offsets[k], offsets[k + 1]):
        if mine[m] and scores[m] > best and _square(positions[m, 0] - x, positions[m, 1] - y) <= limit:
            best = scores[m]
    return best
