"""Keypoints that do not belong where they are: limbs of impossible length, a wrist on another person.

The data set's own people are the measure. A small network sees them, copies of them with one keypoint moved, and copies
with another box, and learns from one half of the photos which keypoint, if any, was moved; it then judges the other
half. Rare poses of the data set are so part of what it knows, which a limit on limb lengths is not. Without the copies
with another box it takes the keypoints of a person whose box is too small for moved ones.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, List, Sequence, Tuple

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.data_check.pose_features import limb_lengths, nearest_others
from ehrpose.data_check.small_network import SmallNetwork, batches

KIND = "misplaced-keypoint"
# Log odds that the keypoint was moved, where a third of the people had one moved: a warning, a hint.
WARNING, HINT = 4.0, 1.0
LEAST_KEYPOINTS, LEAST_PEOPLE = 4, 500
# Distances by which keypoints are moved to learn from, as fractions of the longer side of the box.
_NEAR, _FAR = 0.3, 1.0
# Spread of the logarithms of a wrong box's sides, and of its middle as a fraction of its sides.
_BOX_SIDES, _BOX_MIDDLE = 0.5, 0.35
# Distances to other keypoints count up to this, in thirds of the box's longer side.
_LONGEST = 6.0
_PARTS, _HIDDEN, _EPOCHS, _MEMBERS, _LEAST_STEPS = 2, 128, 20, 1, 800


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
    see = partial(_features, limbs=labels.meta.skeleton)
    odds = np.zeros(people.shape[:2])
    for own in range(_PARTS):
        for member in range(_MEMBERS):
            network = _learn(people[part != own], frames[part != own], flip, member, see)
            odds[part == own] += (
                _odds(network, people[part == own], frames[part == own], flip, see) / _MEMBERS
            )
    return np.where(people[..., 2] > 0, odds, -np.inf), rows


def _learn(
    people: np.ndarray, frames: np.ndarray, flip: np.ndarray, seed: int, see: Callable
) -> SmallNetwork:
    """Return a network of K + 2 outputs: each keypoint moved, none, or the box wrong."""
    rng = np.random.default_rng(seed)
    mirrored, mirrored_frames = _mirrored(people, frames, flip)
    people, frames = np.concatenate([people, mirrored]), np.concatenate([frames, mirrored_frames])
    right = see(people, frames)
    num_keypoints = people.shape[1]
    network = SmallNetwork(right.shape[1], _HIDDEN, num_keypoints + 2, seed)
    epochs = max(_EPOCHS, -(-_LEAST_STEPS * 256 // len(people)))
    order = batches(len(people), epochs, seed)
    each = len(order) // epochs
    for number, (rows, rate) in enumerate(order):
        if number % each == 0:
            moved, which = _move_one(people, frames, rng)
            wrong, boxed = see(moved, frames), see(people, _other_boxes(frames, rng))
        none = np.full(len(rows), num_keypoints)
        truth = np.concatenate([none, which[rows], none + 1])
        network.step(
            np.concatenate([right[rows], wrong[rows], boxed[rows]]), partial(_slope, truth=truth), rate
        )
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


def _other_boxes(frames: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (P, 4) boxes of other sides and another middle."""
    sides = frames[:, 2:] * np.exp(rng.normal(0, _BOX_SIDES, (len(frames), 2)))
    middle = frames[:, :2] + frames[:, 2:] * (0.5 + rng.normal(0, _BOX_MIDDLE, (len(frames), 2)))
    return np.concatenate([middle - sides / 2, sides], axis=1)


def _odds(
    network: SmallNetwork, people: np.ndarray, frames: np.ndarray, flip: np.ndarray, see: Callable
) -> np.ndarray:
    """Return (P, K) log odds over "no keypoint was moved", the mean of the person and its mirror image."""
    odds = []
    for each in ((people, frames), _mirrored(people, frames, flip)):
        out = np.asarray(network(see(*each)), np.float64)
        odds.append(out[:, :-2] - np.logaddexp(out[:, -2], out[:, -1])[:, None])
    return np.asarray((odds[0] + odds[1][:, flip]) / 2)


def _mirrored(people: np.ndarray, frames: np.ndarray, flip: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    frames = frames.copy()
    frames[:, 0] = -frames[:, 0] - frames[:, 2]
    return people[:, flip] * [-1.0, 1.0, 1.0], frames


def _features(people: np.ndarray, frames: np.ndarray, limbs: Sequence[Tuple[int, int]]) -> np.ndarray:
    """Return (P, 6 K + 2 + L) float32: places relative to the box, labelled, visible, shape of the box, lengths.

    The lengths are those of the limbs, from each keypoint to the nearest other one, and out of the box.
    """
    known = people[..., 2] > 0
    middle, side = frames[:, :2] + frames[:, 2:] / 2, frames[:, 2:].max(axis=1)
    places = 3 * (people[..., :2] - middle[:, None]) / side[:, None, None] * known[..., None]
    shape = 2 * frames[:, 2:] / side[:, None]
    places = places.astype(np.float32)
    beyond = np.maximum(np.abs(places) - 0.75 * shape[:, None], 0).max(axis=2) * known
    lengths = (limb_lengths(places, known, limbs), nearest_others(places, known, _LONGEST), beyond)
    parts = [places.reshape(len(people), -1), known, people[..., 2] > 1, shape, *lengths]
    return np.concatenate(parts, axis=1).astype(np.float32)
