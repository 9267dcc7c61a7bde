"""Boxes that do not hold their keypoints, and keypoints outside their photo."""

from __future__ import annotations

from typing import List

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.oks import keypoint_boxes

KIND, OUTSIDE = "box-keypoints", "outside-photo"
# Part of the smallest box around the keypoints that is outside the person's box: a warning, a hint; with fewer labelled
# keypoints always a hint.
_WARNING, _HINT, _LEAST_KEYPOINTS = 0.8, 0.5, 4
# Keypoints this far outside the photo, as a fraction of its longer side, are warnings; nearer ones are hints.
_FAR = 0.05


def find_boxes_without_keypoints(labels: DataLabels) -> List[Finding]:
    """Return people whose keypoints lie largely outside their box.

    Boxes are often those of the visible part of a person, so some keypoints outside are usual.
    """
    known = labels.labelled
    own = np.nan_to_num(keypoint_boxes(labels.keypoints[..., :2], known), nan=0.0)
    low, high = own[:, :2] - 0.5, own[:, 2:] + 0.5  # a single keypoint has an area, too
    shared = np.minimum(high, labels.boxes[:, :2] + labels.boxes[:, 2:]) - np.maximum(
        low, labels.boxes[:, :2]
    )
    beyond = np.nan_to_num(1 - np.maximum(shared, 0).prod(axis=1) / (high - low).prod(axis=1), nan=0.0)
    findings = []
    for row in np.flatnonzero((beyond >= _HINT) & known.any(axis=1)):
        is_sure = beyond[row] >= _WARNING and known[row].sum() >= _LEAST_KEYPOINTS
        text = f"{100 * beyond[row]:.0f} % of the area of the keypoints is outside the person's box"
        level = "warning" if is_sure else "hint"
        findings.append(Finding(KIND, level, int(labels.photo[row]), text, float(beyond[row]), int(row)))
    return findings


def find_keypoints_outside(labels: DataLabels) -> List[Finding]:
    """Return the keypoint of each person that is farthest outside the photo; its far edge counts as inside."""
    sizes = labels.sizes()[:, None]
    points = labels.keypoints[..., :2]
    beyond = np.where(labels.labelled, np.nan_to_num(np.maximum(-points, points - sizes).max(axis=-1)), 0.0)
    findings = []
    for row in np.flatnonzero((beyond > 0).any(axis=1)):
        k = int(beyond[row].argmax())
        score = float(beyond[row, k] / max(np.nanmax(sizes[row]), 1.0))
        text = f"{labels.meta.names[k]} is {beyond[row, k]:.0f} px outside the photo"
        level = "warning" if score > _FAR else "hint"
        findings.append(Finding(OUTSIDE, level, int(labels.photo[row]), text, score, int(row), k))
    return findings
