"""Areas of tracked people, and the overlap of their boxes for when few keypoints are common.

Axes: M tracks, N people, K keypoint types.
"""

from __future__ import annotations

import numpy as np

from ehrpose.oks import AREA_OF_BOX

# Minimum ratio of a box's short side to its long side: a person in profile, or a few keypoints in a line, is not
# thinner than that.
_MIN_ASPECT = 0.35
# Minimum long side, px: a single keypoint has no extent, and no network detects people much smaller than this.
_MIN_SIDE = 16.0
# Boxes are enlarged by this share of the person's size before their overlap is computed.
_BOX_MARGIN = 0.15


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Return the (N,) areas for OKS, px^2, of people with keypoints in ``boxes`` (N, 4); never 0."""
    sides = np.nan_to_num(boxes[:, 2:] - boxes[:, :2])
    longer = np.maximum(sides.max(axis=1), _MIN_SIDE)
    shorter = np.maximum(sides.min(axis=1), _MIN_ASPECT * longer)
    return AREA_OF_BOX * longer * shorter


def enlarged_boxes(boxes: np.ndarray) -> np.ndarray:
    """Return (N, 4) boxes with a margin around their keypoints, so that a single keypoint or a line has a box too."""
    sides = boxes[:, 2:] - boxes[:, :2]
    least = _MIN_ASPECT * np.maximum(np.nan_to_num(sides).max(axis=1), _MIN_SIDE)
    half = 0.5 * np.maximum(sides, least[:, None]) + _BOX_MARGIN * np.sqrt(box_areas(boxes))[:, None]
    centre = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    return np.concatenate([centre - half, centre + half], axis=1)


def pairwise_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the (M, N) intersection over union of xyxy boxes (M, 4) and (N, 4); 0 where a box is NaN or empty."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    inner = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(group[:, 2:] - group[:, :2]).prod(axis=1) for group in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - inner
    return np.nan_to_num(inner / np.where(union > 0, union, np.inf))
