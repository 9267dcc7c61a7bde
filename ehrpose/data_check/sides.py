"""People whose left and right keypoints seem exchanged.

Every person is compared with its own copy with left and right exchanged. A small network learns from one half of the
photos which of the two is the labelled one: the order of eyes, shoulders and hips, with or without a face, which side
is hidden, and how knees and elbows bend all tell. It then judges the other half. A person whose exchanged copy it finds
far more likely is a finding. So nothing is assumed about the skeleton but its mirror pairs.
"""

from __future__ import annotations

from typing import List

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.data_check.small_network import SmallNetwork, batches, temperature

KIND = "swapped-sides"
# Log odds that the exchanged person is the right one: above the first a warning, above the second a hint.
WARNING, HINT = 8.0, 3.0
# People with fewer labelled keypoints are not judged; with fewer such people in a half nothing is learned.
LEAST_KEYPOINTS, LEAST_PEOPLE = 5, 100
_PARTS, _HIDDEN, _EPOCHS, _MEMBERS, _LEAST_STEPS = 2, 64, 15, 4, 400


def find_swapped_sides(labels: DataLabels) -> List[Finding]:
    """Return people who look right only with left and right exchanged."""
    margins, rows = side_margins(labels)
    findings = []
    for margin, row in zip(margins, rows):
        if margin < -HINT:
            text = "left and right seem exchanged"
            level = "warning" if margin < -WARNING else "hint"
            findings.append(Finding(KIND, level, int(labels.photo[row]), text, -float(margin), int(row)))
    return findings


def side_margins(labels: DataLabels) -> tuple:
    """Return the log odds that sides are right, by people of the other half of the photos.

    Returns:
        (P,) log odds, calibrated, and the (P,) indices of the people judged; both empty with too few people or without
        mirror pairs.
    """
    flip = np.asarray(labels.meta.flip_indices)
    paired = (labels.labelled & (flip != np.arange(len(flip)))).any(axis=1)
    least = min(LEAST_KEYPOINTS, labels.meta.num_keypoints - 1)
    rows = np.flatnonzero(paired & (labels.labelled.sum(axis=1) >= least))
    part = labels.photo[rows] % _PARTS
    if len(rows) < LEAST_PEOPLE or min(np.bincount(part, minlength=_PARTS)) < 1:
        return np.empty(0), np.empty(0, np.int64)
    people = labels.keypoints[rows]
    margins = np.zeros(len(rows))
    for own in range(_PARTS):
        for member in range(_MEMBERS):
            network = _learn(people[part != own], flip, member)
            margins[part == own] += _margins(network, people[part == own], flip) / _MEMBERS
    return margins * temperature(margins), rows


def _learn(people: np.ndarray, flip: np.ndarray, seed: int) -> SmallNetwork:
    people = np.concatenate([people, _mirrored(people, flip)])
    right, wrong = _features(people), _features(people[:, flip])
    network = SmallNetwork(right.shape[1], _HIDDEN, 1, seed)
    epochs = max(_EPOCHS, -(-_LEAST_STEPS * 256 // len(people)))
    for rows, rate in batches(len(people), epochs, seed):
        network.step(np.concatenate([right[rows], wrong[rows]]), _slope, rate)
    return network


def _slope(outputs: np.ndarray) -> np.ndarray:
    """Return the derivative of the logistic loss of right minus wrong outputs, (2 n, 1)."""
    count = len(outputs) // 2
    slope = -1 / (1 + np.exp(np.clip(outputs[:count] - outputs[count:], -30, 30))) / count
    return np.concatenate([slope, -slope])


def _margins(network: SmallNetwork, people: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Return (P,) log odds of the labelled sides over the exchanged ones, the mean over the mirror image too."""
    total = np.zeros(len(people))
    for each in (people, _mirrored(people, flip)):
        total += (network(_features(each)) - network(_features(each[:, flip])))[:, 0] / 2
    return total


def _mirrored(people: np.ndarray, flip: np.ndarray) -> np.ndarray:
    return np.asarray(people[:, flip] * [-1.0, 1.0, 1.0])


def _features(people: np.ndarray) -> np.ndarray:
    """Return (P, 4 K) float32: places relative to the person's middle and spread, labelled, visible."""
    known = people[..., 2] > 0
    count = np.maximum(known.sum(axis=1), 1)[:, None]
    middle = (people[..., :2] * known[..., None]).sum(axis=1) / count
    offsets = (people[..., :2] - middle[:, None]) * known[..., None]
    spread = np.sqrt((offsets**2).sum(axis=(1, 2)) / count[:, 0] / 2) + 1e-6
    places = (offsets / spread[:, None, None]).reshape(len(people), -1)
    return np.concatenate([places, known, people[..., 2] > 1], axis=1).astype(np.float32)
