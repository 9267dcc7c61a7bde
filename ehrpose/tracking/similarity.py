"""How alike poses are: object keypoint similarity (OKS), and the overlap of boxes where few keypoints are common.

OKS as in the COCO keypoint evaluation, with a tolerance that may grow by a position's variance.
Axes: M tracks, N people, K keypoint types.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np

from ehrpose.codecs.selection import AREA_OF_BOX

# The short side of a box counts as at least this share of the long one: a person in profile, or a few keypoints in a
# row, is not thinner than that.
_MIN_ASPECT = 0.35
# A single keypoint has no extent, and no network sees people much smaller than this; px.
_MIN_SIDE = 16.0
# Boxes are enlarged by this share of the person's size before their overlap is taken.
_BOX_MARGIN = 0.15


def keypoint_boxes(keypoints: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return (N, 4) float64 xyxy boxes around keypoints (N, K, 2) that are ``present`` (N, K); NaN where none is."""
    known = present[..., None]
    low = np.where(known, keypoints, np.inf).min(axis=1, initial=np.inf)
    high = np.where(known, keypoints, -np.inf).max(axis=1, initial=-np.inf)
    boxes = np.concatenate([low, high], axis=1).astype(np.float64)
    boxes[~present.any(axis=1)] = np.nan
    return boxes


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Return the (N,) area, px^2, of people with keypoints in ``boxes`` (N, 4), as OKS wants it; never 0."""
    sides = np.nan_to_num(boxes[:, 2:] - boxes[:, :2])
    longer = np.maximum(sides.max(axis=1), _MIN_SIDE)
    shorter = np.maximum(sides.min(axis=1), _MIN_ASPECT * longer)
    return AREA_OF_BOX * longer * shorter


def enlarged_boxes(boxes: np.ndarray) -> np.ndarray:
    """Return (N, 4) boxes with a margin around their keypoints, so that one keypoint or a line has a box too."""
    sides = boxes[:, 2:] - boxes[:, :2]
    least = _MIN_ASPECT * np.maximum(np.nan_to_num(sides).max(axis=1), _MIN_SIDE)
    half = 0.5 * np.maximum(sides, least[:, None]) + _BOX_MARGIN * np.sqrt(box_areas(boxes))[:, None]
    centre = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    return np.concatenate([centre - half, centre + half], axis=1)


def pairwise_oks(
    poses: np.ndarray,
    known: np.ndarray,
    keypoints: np.ndarray,
    present: np.ndarray,
    areas: np.ndarray,
    sigmas: np.ndarray,
    variances: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
    """Compare each track with each person.

    Args:
        poses: (M, K, 2) px.
        known: (M, K) bool, the keypoints of the tracks that count.
        keypoints: (N, K, 2) px.
        present: (N, K) bool, the keypoints of the people that count.
        areas: (M, N) px^2, the size that the tolerance is relative to.
        sigmas: (K,) tolerances of the OKS.
        variances: (M,) px^2, added to the squared tolerance of each keypoint; 0 gives COCO's OKS.

    Returns:
        (M, N) OKS, 0 to 1, the mean over the keypoints that both have; and (M, N) their number.
    """
    both = known[:, None] & present[None]
    count = both.sum(axis=2)
    away = poses[:, None] - keypoints[None]
    squares = away[..., 0] ** 2 + away[..., 1] ** 2
    tolerance = (2.0 * sigmas) ** 2 * areas[..., None] + variances[:, None, None]
    alike = np.where(both, np.exp(-squares / (2.0 * tolerance)), 0.0)
    return alike.sum(axis=2) / np.maximum(count, 1), count


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the (M, N) intersection over union of xyxy boxes (M, 4) and (N, 4); 0 where a box is NaN or empty."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(group[:, 2:] - group[:, :2]).prod(axis=1) for group in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - inner
    return np.nan_to_num(inner / np.where(union > 0, union, np.inf))
