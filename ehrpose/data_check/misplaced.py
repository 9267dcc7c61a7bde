"""Keypoints that do not belong where they are: limbs of impossible length, a wrist on another person.

The data set's own people are the measure. A small network sees them and copies of them with one keypoint moved, and
learns from one half of the photos which keypoint, if any, was moved; it then judges the other half. Rare poses of the
data set are so part of what it knows, which a limit on limb lengths is not.
"""

from __future__ import annotations

from functools import partial
from typing import List, Tuple

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.data_check.small_network import SmallNetwork, batches

KIND = "misplaced-keypoint"
# Log odds that the keypoint was moved, where every second person had one moved: a warning, a hint.
WARNING, HINT = 8.0, 3.0
LEAST_KEYPOINTS, LEAST_PEOPLE = 4, 500
# Distances by which keypoints are moved to learn from, as fractions of the longer side of the box.
_NEAR, _FAR = 0.3, 1.0
_PARTS, _HIDDEN, _EPOCHS, _MEMBERS, _LEAST_STEPS = 2, 128, 50, 1, 800


def find_misplaced_keypoints(labels: DataLabels) -> List[Finding]:
    """Return the most suspicious keypoint of each person who has one."""
    odds, rows = moved_odds(labels)
    worst = odds.argmax(axis=1) if len(rows) else rows
    length = np.maximum(labels.frames()[:, 2], labels.frames()[:, 3])
    findings = []
    for row, k, each in zip(rows, worst, odds):
        if each[k] > HINT:
            name = labels.meta.names[k]
            text = f"{name} is far from where the other keypoints put it{_limb(labels, row, k, length[row])}"
            level = "warning" if each[k] > WARNING else "hint"
            findings.append(
                Finding(KIND, level, int(labels.photo[row]), text, float(each[k]), int(row), int(k))
            )
    return findings


def _limb(labels: DataLabels, row: int, k: int, length: float) -> str:
    """Return the length of the keypoint's longest limb as a part of a sentence."""
    points, known = labels.keypoints[row, :, :2], labels.labelled[row]
    ends = [j if i == k else i for i, j in labels.meta.skeleton if k in (i, j)]
    reach = {end: float(np.linalg.norm(points[k] - points[end])) for end in ends if known[end]}
    if not reach:
        return ""
    end = max(reach, key=lambda each: reach[each])
    return f"; {reach[end] / length:.2f} of the box from {labels.meta.names[end]}"


def moved_odds(labels: DataLabels) -> Tuple[np.ndarray, np.ndarray]:
    """Return the log odds that a keypoint was moved, by people of the other half of the photos.

    Returns:
        (P, K) log odds, -inf for keypoints that are not labelled, and the (P,) indices of the people judged; both empty
        with too few people.
    """
    rows = np.flatnonzero(labels.labelled.sum(axis=1) >= LEAST_KEYPOINTS)
    part = labels.photo[rows] % _PARTS
    if len(rows) < LEAST_PEOPLE or min(np.bincount(part, minlength=_PARTS)) < 1:
        return np.empty((0, labels.meta.num_keypoints)), np.empty(0, np.int64)
    people, frames = labels.keypoints[rows], labels.frames()[rows]
    flip = np.asarray(labels.meta.flip_indices)
    odds = np.zeros(people.shape[:2])
    for own in range(_PARTS):
        for member in range(_MEMBERS):
            network = _learn(people[part != own], frames[part != own], flip, member)
            odds[part == own] += _odds(network, people[part == own], frames[part == own], flip) / _MEMBERS
    return np.where(people[..., 2] > 0, odds, -np.inf), rows


def _learn(people: np.ndarray, frames: np.ndarray, flip: np.ndarray, seed: int) -> SmallNetwork:
    rng = np.random.default_rng(seed)
    mirrored, mirrored_frames = _mirrored(people, frames, flip)
    people, frames = np.concatenate([people, mirrored]), np.concatenate([frames, mirrored_frames])
    right = _features(people, frames)
    num_keypoints = people.shape[1]
    network = SmallNetwork(right.shape[1], _HIDDEN, num_keypoints + 1, seed)
    epochs = max(_EPOCHS, -(-_LEAST_STEPS * 256 // len(people)))
    order = batches(len(people), epochs, seed)
    each = len(order) // epochs
    for number, (rows, rate) in enumerate(order):
        if number % each == 0:
            moved, which = _move_one(people, frames, rng)
            wrong = _features(moved, frames)
        truth = np.concatenate([np.full(len(rows), num_keypoints), which[rows]])
        network.step(np.concatenate([right[rows], wrong[rows]]), partial(_slope, truth=truth), rate)
    return network


def _slope(outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return the derivative of the cross entropy by the (n, K + 1) outputs."""
    slope = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    slope /= slope.sum(axis=1, keepdims=True)
    slope[np.arange(len(truth)), truth] -= 1
    return np.asarray(slope / len(truth))


def _move_one(
    people: np.ndarray, frames: np.ndarray, rng: np.random.Generator
) -> Tuple[np.ndarray, np.ndarray]:
    """Return people with one labelled keypoint moved, and the (P,) index of that keypoint."""
    which = np.where(people[..., 2] > 0, rng.random(people.shape[:2]), -1).argmax(axis=1)
    distance = frames[:, 2:].max(axis=1) * rng.uniform(_NEAR, _FAR, len(people))
    angle = rng.uniform(0, 2 * np.pi, len(people))
    moved = people.copy()
    moved[np.arange(len(people)), which, :2] += np.stack(
        [distance * np.cos(angle), distance * np.sin(angle)], axis=1
    )
    return moved, which


def _odds(network: SmallNetwork, people: np.ndarray, frames: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Return (P, K) log odds over "none was moved", the mean of the person and its mirror image."""
    own, mirrored = network(_features(people, frames)), network(_features(*_mirrored(people, frames, flip)))
    return np.asarray((own[:, :-1] - own[:, -1:] + mirrored[:, flip] - mirrored[:, -1:]) / 2, np.float64)


def _mirrored(people: np.ndarray, frames: np.ndarray, flip: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    frames = frames.copy()
    frames[:, 0] = -frames[:, 0] - frames[:, 2]
    return people[:, flip] * [-1.0, 1.0, 1.0], frames


def _features(people: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Return (P, 4 K + 2) float32: places relative to the box, labelled, visible, shape of the box."""
    known = people[..., 2] > 0
    middle, side = frames[:, :2] + frames[:, 2:] / 2, frames[:, 2:].max(axis=1)
    places = 3 * (people[..., :2] - middle[:, None]) / side[:, None, None] * known[..., None]
    shape = 2 * frames[:, 2:] / side[:, None]
    flat = places.reshape(len(people), -1)
    return np.concatenate([flat, known, people[..., 2] > 1, shape], axis=1).astype(np.float32)
