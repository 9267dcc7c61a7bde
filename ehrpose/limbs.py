"""Lengths of limbs relative to one another: what is usual in a skeleton, and too long for a person (NumPy only).

Axes: N people, K keypoint types, L limbs.
"""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import numpy as np

# A person with fewer limbs is not judged: their median says too little.
FEWEST_LIMBS = 3


def limb_lengths(keypoints: np.ndarray, present: np.ndarray, skeleton: Any) -> np.ndarray:
    """Return (N, L) float64 lengths of limbs, px, NaN where an end is missing.

    Args:
        keypoints: (N, K, 2) px.
        present: (N, K) bool, which keypoints a person has.
        skeleton: (L, 2) keypoint indices of the limbs.
    """
    first, second = np.asarray(skeleton, np.int64).reshape(-1, 2).T
    points = np.asarray(keypoints, np.float64)
    steps = points[:, first] - points[:, second]
    present = np.asarray(present, bool)
    lengths = np.sqrt(np.einsum("nlc,nlc->nl", steps, steps))
    return np.where(present[:, first] & present[:, second], lengths, np.nan)


def usual_lengths(
    keypoints: np.ndarray, present: np.ndarray, skeleton: Sequence[Tuple[int, int]], rounds: int = 20
) -> np.ndarray:
    """Estimate how long limbs are relative to one another, from labels.

    A person's scale is the median of its limbs' lengths, each divided by what is usual; what is usual is the median of
    the lengths divided by the person's scale. Both are refined in turn.

    Args:
        keypoints: (N, K, 2) px.
        present: (N, K) bool, which keypoints are labelled.
        skeleton: L limbs, each a pair of keypoint indices.
        rounds: How often both are refined.

    Returns:
        (L,) float64 lengths with mean 1 over the limbs that are labelled; NaN for limbs that no person of at least
        three limbs has.
    """
    lengths = limb_lengths(keypoints, present, skeleton)
    lengths = lengths[np.isfinite(lengths).sum(axis=1) >= FEWEST_LIMBS]
    lengths[lengths == 0] = np.nan
    seen = np.isfinite(lengths).any(axis=0)
    usual = np.where(seen, 1.0, np.nan)
    measured = lengths[:, seen]
    measured = measured[np.isfinite(measured).any(axis=1)]
    for _ in range(rounds if seen.any() else 0):
        scales = np.nanmedian(measured / usual[seen], axis=1)
        found = np.nanmedian(measured / scales[:, None], axis=0)
        usual[seen] = found / found.mean()
    return usual


def too_long(
    keypoints: np.ndarray,
    present: np.ndarray,
    skeleton: np.ndarray,
    usual: np.ndarray,
    factor: float,
    slack: float = 0.0,
) -> np.ndarray:
    """Find limbs that are too long for their person.

    A person's scale is the median of its limbs' lengths, each divided by the usual one. People with fewer than three
    limbs have none that is too long.

    Args:
        keypoints: (N, K, 2) px.
        present: (N, K) bool, which keypoints a person has.
        skeleton: (L, 2) keypoint indices of the limbs.
        usual: (L,) usual lengths, in any unit.
        factor: Too long is more than this multiple of the usual length times the person's scale, plus ``slack``.
        slack: px.

    Returns:
        (N, L) bool.
    """
    lengths = limb_lengths(keypoints, present, skeleton)
    if not lengths.size:
        return np.zeros(lengths.shape, bool)
    known = np.isfinite(lengths)
    ratios = np.sort(np.where(known, lengths / usual, np.inf), axis=1)
    count = known.sum(axis=1)
    judged = count >= FEWEST_LIMBS
    middle = np.where(judged, count, FEWEST_LIMBS)[:, None]
    middle = np.minimum(middle, lengths.shape[1])
    low, high = (np.take_along_axis(ratios, at, axis=1) for at in ((middle - 1) // 2, middle // 2))
    with np.errstate(invalid="ignore"):  # people without limbs, and limbs that are not there
        long = lengths > factor * 0.5 * (low + high) * usual + slack
    return long & judged[:, None]
