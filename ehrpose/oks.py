"""Object keypoint similarity (OKS) of COCO's keypoint evaluation, and the boxes and areas it is based on.

Source: https://cocodataset.org/#keypoints-eval.
Axes: N people, M poses, K keypoint types.
"""

from __future__ import annotations

from typing import Tuple, Union

import numpy as np

# Approximate area of a person relative to the box around COCO's keypoints; CrowdPose's evaluation uses it too.
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
        areas: (...) areas of the people, px^2.
        sigmas: (K,) tolerances.
        variances: (..., 1) px^2, added to the squared tolerance of each keypoint; 0 is COCO's OKS.
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
    """Return (...) OKS, 0 to 1: the mean ``similarity`` of the ``counted`` (..., K) keypoints; 0 if none is."""
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
    """Return the OKS of every pose with every person.

    Args:
        poses: (M, K, 2) px.
        known: (M, K) bool, True where a pose's keypoint counts.
        keypoints: (N, K, 2) px.
        present: (N, K) bool, True where a person's keypoint counts.
        areas: (M, N) px^2, the areas that scale the tolerance.
        sigmas: (K,) tolerances.
        variances: (M,) px^2, added to the squared tolerance of each keypoint; 0 is COCO's OKS.

    Returns:
        (M, N) OKS, 0 to 1, averaged over the keypoints that both have; and the (M, N) number of these.
    """
    both = known[:, None] & present[None]
    oks = mean_similarity(poses[:, None], keypoints[None], areas, sigmas, both, variances[:, None, None])
    return oks, both.sum(axis=2)


def tolerated_squares(least: float, sigmas: np.ndarray) -> np.ndarray:
    """Return the (K,) squared distances, relative to the area, where ``similarity`` is ``least`` (above 0, up to 1)."""
    return -2 * np.log(least) * (2 * np.asarray(sigmas, np.float64)) ** 2


def extents(keypoints: np.ndarray, present: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the (N, 2) minimum and (N, 2) maximum x and y of the keypoints (N, K, 2) that are ``present`` (N, K).

    They are inf and -inf for people without any.
    """
    known = present[..., None]
    low = np.where(known, keypoints, np.inf).min(axis=1, initial=np.inf)
    high = np.where(known, keypoints, -np.inf).max(axis=1, initial=-np.inf)
    return low, high


def keypoint_boxes(keypoints: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return (N, 4) float64 xyxy boxes around keypoints (N, K, 2) that are ``present`` (N, K); NaN without any."""
    boxes = np.concatenate(extents(keypoints, present), axis=1).astype(np.float64)
    boxes[~present.any(axis=1)] = np.nan
    return boxes


def areas_of(keypoints: np.ndarray, present: np.ndarray, least_side: float = 1.0) -> np.ndarray:
    """Return the (N,) areas of people, px^2, estimated from the boxes around their present keypoints.

    Args:
        keypoints: (N, K, 2) px.
        present: (N, K) bool, True where the person has the keypoint.
        least_side: Minimum side of a box, px.
    """
    low, high = extents(keypoints, present)
    return np.asarray(AREA_OF_BOX * np.maximum(high - low, least_side).prod(axis=1))
