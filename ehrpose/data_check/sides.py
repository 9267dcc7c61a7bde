"""People whose left and right keypoints seem exchanged.

Every person is compared with its own copy with left and right exchanged. A small network learns from one half of the
photos which of the two is the labelled one: the order of eyes, shoulders and hips, with or without a face, which side
is hidden, and how knees and elbows bend all tell. It learns with keypoints left out at random, so that not one of them
decides. It then judges the other half. A person whose exchanged copy it finds far more likely, also in the mean over
leaving out one pair after the other, is a finding. So nothing is assumed about the skeleton but its pairs and limbs.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, List

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.data_check.findings import Finding
from ehrpose.data_check.pose_features import joint_turns, joints_of, pair_directions
from ehrpose.data_check.small_network import SmallNetwork, batches, temperature

KIND = "swapped-sides"
# Log odds that the exchanged person is the right one: above the first a warning, above the second a hint.
WARNING, HINT = 8.0, 3.0
# People with fewer labelled keypoints are not judged; with fewer such people in a half nothing is learned.
LEAST_KEYPOINTS, LEAST_PEOPLE = 5, 100
# Largest mean share of a person's keypoints that are left out to learn from, and the number that stay at least.
_LEFT_OUT, _STAY = 0.4, 4
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
    pairs = [(i, int(j)) for i, j in enumerate(flip) if i < j]
    see = partial(_features, pairs=pairs, joints=joints_of(labels.meta.skeleton))
    margins, steady = np.zeros(len(rows)), np.zeros(len(rows))
    for own in range(_PARTS):
        judged = np.flatnonzero(part == own)
        networks = [_learn(people[part != own], flip, member, see) for member in range(_MEMBERS)]
        margins[judged] = _margins(networks, people[judged], flip, see)
        doubted = judged[margins[judged] < 0]
        if not len(doubted):
            continue
        without = [_margins(networks, _without(people[doubted], pair), flip, see) for pair in pairs]
        steady[doubted] = np.mean([margins[doubted], *without], axis=0)
    factor = temperature(margins)
    return np.where(margins < 0, steady, margins) * factor, rows


def _learn(people: np.ndarray, flip: np.ndarray, seed: int, see: Callable) -> SmallNetwork:
    rng = np.random.default_rng(seed)
    people = np.concatenate([people, _mirrored(people, flip)])
    right, wrong = see(people), see(people[:, flip])
    network = SmallNetwork(right.shape[1], _HIDDEN, 1, seed)
    epochs = max(_EPOCHS, -(-_LEAST_STEPS * 256 // len(people)))
    order = batches(len(people), epochs, seed)
    each = len(order) // epochs
    for number, (rows, rate) in enumerate(order):
        if number and number % each == 0:
            fewer = _some_left_out(people, rng)
            right, wrong = see(fewer), see(fewer[:, flip])
        network.step(np.concatenate([right[rows], wrong[rows]]), _slope, rate)
    return network


def _some_left_out(people: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return people with some keypoints not labelled: of each another share; those with too few left stay whole."""
    share = rng.uniform(0, _LEFT_OUT, (len(people), 1))
    out = rng.random(people.shape[:2]) < share
    out &= ((people[..., 2] > 0) & ~out).sum(axis=1, keepdims=True) >= _STAY
    fewer = people.copy()
    fewer[..., 2][out] = 0
    return fewer


def _without(people: np.ndarray, pair: tuple) -> np.ndarray:
    fewer = people.copy()
    fewer[:, list(pair), 2] = 0
    return fewer


def _slope(outputs: np.ndarray) -> np.ndarray:
    """Return the derivative of the logistic loss of right minus wrong outputs, (2 n, 1)."""
    count = len(outputs) // 2
    slope = -1 / (1 + np.exp(np.clip(outputs[:count] - outputs[count:], -30, 30))) / count
    return np.concatenate([slope, -slope])


def _margins(networks: List[SmallNetwork], people: np.ndarray, flip: np.ndarray, see: Callable) -> np.ndarray:
    """Return (P,) log odds of the labelled sides over the exchanged ones, the mean over the mirror image too."""
    total = np.zeros(len(people))
    for each in (people, _mirrored(people, flip)):
        own, exchanged = see(each), see(each[:, flip])
        for network in networks:
            total += (network(own) - network(exchanged))[:, 0] / 2 / len(networks)
    return total


def _mirrored(people: np.ndarray, flip: np.ndarray) -> np.ndarray:
    return np.asarray(people[:, flip] * [-1.0, 1.0, 1.0])


def _features(people: np.ndarray, pairs: list, joints: list) -> np.ndarray:
    """Return (P, D) float32: places relative to the person's middle and spread, labelled, visible, directions, turns.

    Directions are those between the keypoints of mirror pairs; turns those at joints.
    """
    known = people[..., 2] > 0
    count = np.maximum(known.sum(axis=1), 1)[:, None]
    middle = (people[..., :2] * known[..., None]).sum(axis=1) / count
    offsets = (people[..., :2] - middle[:, None]) * known[..., None]
    spread = np.sqrt((offsets**2).sum(axis=(1, 2)) / count[:, 0] / 2) + 1e-6
    places = (offsets / spread[:, None, None]).astype(np.float32)
    shapes = (pair_directions(places, known, pairs), joint_turns(places, known, joints))
    parts = [places.reshape(len(people), -1), known, people[..., 2] > 1, *shapes]
    return np.concatenate(parts, axis=1).astype(np.float32)
