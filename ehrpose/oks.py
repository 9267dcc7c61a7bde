"""Object keypoint similarity (OKS) of COCO's keypoint evaluation, and the boxes and areas that it is relative to.

Source: https://cocodataset.org/#keypoints-eval.
Axes: N people, M others, K keypoint types.
"""

from __future__ import annotations

from typing import Tuple, Union

import numpy as np

# A box around COCO's keypoints, times this, is about the area of the person; CrowdPose's evaluation takes it too.
AREA_OF_BOX = 0.53


def similarity(
    first: np.ndarray,
    second: np.ndarray,
    areas: np.ndarray,
    sigmas: np.ndarray,
    variances: Union[float, np.ndarray] = 0.0,
) -> np.ndarray:
    """Return (..., K) ``exp(-d**2 / (2 ((2 sigma)**2 area + variance)))``, 0 to 1.

    Args:
        first: (..., K, 2) px.
        second: (..., K, 2) px.
        areas: (...) of the person, px^2.
        sigmas: (K,) tolerances.
        variances: (..., 1) px^2, added to the squared tolerance of each keypoint; 0 gives COCO's OKS.
    """
    squares = ((first - second).astype(np.float64) ** 2).sum(axis=-1)
    tolerance = (2.0 * np.asarray(sigmas, np.float64)) ** 2 * np.asarray(areas)[..., None] + variances
    return np.asarray(np.exp(-squares / (2.0 * tolerance)))


def mean_similarity(
    first: np.ndarray,
    second: np.ndarray,
    areas: np.ndarray,
    sigmas: np.ndarray,
    counted: np.ndarray,
    variances: Union[float, np.ndarray] = 0.0,
) -> np.ndarray:
    """Return (...) OKS, 0 to 1: the mean ``similarity`` of the keypoints ``counted`` (..., K); 0 where none is."""
    alike = np.where(counted, similarity(first, second, areas, sigmas, variances), 0.0)
    return np.asarray(alike.sum(axis=-1) / np.maximum(counted.sum(axis=-1), 1))


def pairwise_oks(
    poses: np.ndarray,
    known: np.ndarray,
    keypoints: np.ndarray,
    present: np.ndarray,
    areas: np.ndarray,
    sigmas: np.ndarray,
    variances: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
    """Compare each of some poses with each person.

    Args:
        poses: (M, K, 2) px.
        known: (M, K) bool, the keypoints of the poses that count.
        keypoints: (N, K, 2) px.
        present: (N, K) bool, the keypoints of the people that count.
        areas: (M, N) px^2, the size that the tolerance is relative to.
        sigmas: (K,) tolerances.
        variances: (M,) px^2, added to the squared tolerance of each keypoint; 0 gives COCO's OKS.

    Returns:
        (M, N) OKS, 0 to 1, the mean over the keypoints that both have; and (M, N) their number.
    """
    both = known[:, None] & present[None]
    oks = mean_similarity(poses[:, None], keypoints[None], areas, sigmas, both, variances[:, None, None])
    return oks, both.sum(axis=2)


def tolerated_squares(least: float, sigmas: np.ndarray) -> np.ndarray:
    """Return (K,) the squared distances, as shares of the area, at which ``similarity`` is ``least``, over 0 to 1."""
    return -2 * np.log(least) * (2 * np.asarray(sigmas, np.float64)) ** 2


def extents(keypoints: np.ndarray, present: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return (N, 2) the least and (N, 2) the largest x and y of keypoints (N, K, 2) that are ``present`` (N, K).

    They are inf and -inf where none is.
    """
    known = present[..., None]
    low = np.where(known, keypoints, np.inf).min(axis=1, initial=np.inf)
    high = np.where(known, keypoints, -np.inf).max(axis=1, initial=-np.inf)
    return low, high


def keypoint_boxes(keypoints: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return (N, 4) float64 xyxy boxes around keypoints (N, K, 2) that are ``present`` (N, K); NaN where none is."""
    boxes = np.concatenate(extents(keypoints, present), axis=1).astype(np.float64)
    boxes[~present.any(axis=1)] = np.nan
    return boxes


def areas_of(keypoints: np.ndarray, present: np.ndarray, least_side: float = 1.0) -> np.ndarray:
    """Return (N,) areas of people, px^2, estimated from the boxes around the keypoints that they have.

    Args:
        keypoints: (N, K, 2) px.
        present: (N, K) bool, which of them a person has.
        least_side: Sides of boxes are at least this, px.
    """
    low, high = extents(keypoints, present)
    return np.asarray(AREA_OF_BOX * np.maximum(high - low, least_side).prod(axis=1))
