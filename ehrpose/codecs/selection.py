"""Options of ``fast`` decoding: dropping people and keypoints, ranking people (NumPy only).

Axes: N people, K keypoint types.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

from ehrpose.oks import areas_of, extents, mean_similarity

PAIRS = 4096  # pairs of people that are compared together, for the memory's sake


def far_members(keypoints: np.ndarray, present: np.ndarray, factor: float) -> np.ndarray:
    """Find keypoints that lie too far from the person's other ones.

    People with fewer than four keypoints keep all: their median distance says too little.

    Args:
        keypoints: (N, K, 2) px.
        present: (N, K) bool, which keypoints a person has.
        factor: Too far is more than this multiple of the median distance from the median keypoint.

    Returns:
        (N, K) bool.
    """
    if not len(keypoints):
        return np.zeros_like(present)
    known = np.where(present[..., None], keypoints, np.nan).astype(np.float64)
    known[~present.any(axis=1)] = 0  # np.nanmedian warns about people without keypoints
    centre = np.nanmedian(known, axis=1, keepdims=True)
    distance = np.linalg.norm(keypoints - centre, axis=2)
    typical = np.nanmedian(np.linalg.norm(known - centre, axis=2), axis=1)
    judged = present & (present.sum(axis=1) >= 4)[:, None]
    with np.errstate(invalid="ignore"):  # an infinite factor times 0
        return judged & (distance > factor * typical[:, None])


def distinct_people(
    keypoints: np.ndarray, keypoint_scores: np.ndarray, sigmas: np.ndarray, max_similarity: float
) -> np.ndarray:
    """Drop near-duplicates of people with a better score (non-maximum suppression by OKS).

    Args:
        keypoints: (N, K, 2) px, the best person first.
        keypoint_scores: (N, K), 0 where the person has none.
        sigmas: (K,) OKS tolerances.
        max_similarity: Largest OKS with a person kept so far, 0 to 1, over the keypoints that both have.

    Returns:
        Indices of the people kept, ascending.
    """
    present = keypoint_scores > 0
    area = areas_of(keypoints, present)
    better, worse = _near_pairs(keypoints, present, area, sigmas, max_similarity)
    dropped = np.zeros(len(keypoints), bool)
    for start in range(0, len(better), PAIRS):
        one, other = better[start : start + PAIRS], worse[start : start + PAIRS]
        both = present[one] & present[other]
        alike = mean_similarity(keypoints[one], keypoints[other], area[one], sigmas, both) > max_similarity
        for first, second in zip(one[alike].tolist(), other[alike].tolist()):
            dropped[second] |= not dropped[first]  # what was dropped drops nobody
    return np.flatnonzero(~dropped)


def _near_pairs(
    keypoints: np.ndarray, present: np.ndarray, area: np.ndarray, sigmas: np.ndarray, max_similarity: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Return the pairs of people, the better one first and ascending, that may have an OKS above ``max_similarity``.

    No keypoint of all others has such a similarity: the boxes around them are too far apart.
    """
    low, high = extents(keypoints, present)
    with np.errstate(divide="ignore"):
        least = -2.0 * np.log(max_similarity) + 1e-6  # a little more, for rounding
    reach = np.sqrt(least * area.astype(np.float64)) * 2.0 * np.max(sigmas) + 1e-3
    meet = np.triu(np.ones((len(keypoints), len(keypoints)), bool), 1)
    for axis in range(2):
        meet &= low[:, axis, None] - reach[:, None] <= high[:, axis]
        meet &= low[:, axis] <= high[:, axis, None] + reach[:, None]
    better, worse = np.nonzero(meet)
    return better, worse


def person_scores(
    members: np.ndarray,
    keypoints: np.ndarray,
    present: np.ndarray,
    power: float,
    size: float,
    input_area: float,
) -> np.ndarray:
    """Return (N,) float32 scores: the power mean of the members' scores, times a power of the person's size.

    Errors are larger relative to a small person's size, and one confident keypoint says more than two faint ones.

    Args:
        members: (N, K) scores of the grouped keypoints, 0 for all others.
        keypoints: (N, K, 2) px, filled ones too.
        present: (N, K) bool, which keypoints a person has.
        power: 1 is the mean over all K, 2 the root of the mean square.
        size: Exponent of the ratio of the box around the keypoints to the input, both as square roots of areas.
        input_area: Area of the input, px^2.

    Returns:
        The scores; infinite or NaN where they overflow, or a score below 0 has no root.
    """
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        means = (np.asarray(members, np.float64) ** power).mean(axis=1) ** (1 / power)
    low, high = extents(keypoints, present)
    # A line or a single keypoint counts as a box one pixel wide.
    area = np.maximum(high - low, 1.0).prod(axis=1, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(means * (area / input_area) ** (size / 2), np.float32)
