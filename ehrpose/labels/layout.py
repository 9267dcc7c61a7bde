"""Where the keypoints of a skeleton lie in a drawing of it, for tools that need one."""

from __future__ import annotations

import numpy as np

from ehrpose.labels.label_set import LabelSet

# A drawing is a square of this side; this much of it stays free on each side.
_SIDE, _MARGIN = 100.0, 10.0
# People looked at, at most.
_MOST = 500


def average_layout(labels: LabelSet) -> np.ndarray:
    """Return (K, 2) places of the keypoints in a square of side 100: those of an average person.

    Keypoints that nobody has lie on a circle.
    """
    num = labels.meta.num_keypoints
    total, count = np.zeros((num, 2)), np.zeros((num, 1))
    for person, _ in zip(labels.people(), range(_MOST)):
        seen = np.asarray(person.keypoints[:, 2] > 0)
        if person.crowd or seen.sum() < 2:
            continue
        points = person.keypoints[seen, :2]
        low, size = points.min(axis=0), np.ptp(points, axis=0).max()
        total[seen] += (points - low) / max(float(size), 1e-6)
        count[seen] += 1
    angles = 2 * np.pi * np.arange(num) / num
    circle = 0.5 + 0.5 * np.stack([np.sin(angles), -np.cos(angles)], axis=1)
    places = np.where(count > 0, total / np.maximum(count, 1), circle)
    return np.asarray(_MARGIN + np.clip(places, 0, 1) * (_SIDE - 2 * _MARGIN))
