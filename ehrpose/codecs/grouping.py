"""Group keypoint candidates into people by their tags (NumPy only).

Source: Newell et al., Associative Embedding, arXiv:1611.05424, section 3.3.
Axes: K keypoint types, M candidates of a type (differs by type), T tag length, N people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Sequence, Tuple

import numpy as np

from ehrpose.assignment import linear_sum_assignment
from ehrpose.codecs.accelerator import kernel
from ehrpose.codecs.argument_checks import LARGEST


@dataclass
class Groups:
    """People grouped from candidates, in order of creation.

    Attributes:
        candidate: (N, K) int64, index of the candidate of each type, -1 where the person has none.
        tags: (N, T) float64, mean tag of the members.
    """

    candidate: np.ndarray
    tags: np.ndarray

    def __len__(self) -> int:
        return len(self.candidate)


def group_by_tag(
    scores: Sequence[np.ndarray],
    tags: Sequence[np.ndarray],
    order: Sequence[int],
    max_tag_dist: float = 1.0,
) -> Groups:
    """Assign every candidate to exactly one person.

    Types are visited in ``order``. The candidates of a type are matched to the people so far at minimum total
    cost ``round(distance) * 100 - score``, where the distance is that of the candidate's tag from the person's
    mean tag. An unmatched candidate, or one farther than ``max_tag_dist`` from its match, starts a new person.
    People are identified by their index, never by the value of a tag.

    Args:
        scores: K arrays (M,), heatmap value of each candidate.
        tags: K arrays (M, T), tag of each candidate.
        order: A permutation of ``range(K)``, easiest types first.
        max_tag_dist: Largest Euclidean tag distance between a candidate and its person.

    Raises:
        ValueError: ``order`` is not a permutation, the numbers of scores and tags differ, or a value is NaN, infinite
            or too large.
    """
    num_types = len(scores)
    if sorted(order) != list(range(num_types)) or len(tags) != num_types:
        raise ValueError(
            f"expected {num_types} arrays of tags and an order of them, got {len(tags)} and {list(order)}"
        )
    for k in range(num_types):
        if len(scores[k]) != len(tags[k]):
            raise ValueError(
                f"type {k}: expected one tag per score, got {len(scores[k])} scores and {len(tags[k])} tags"
            )
    offsets = np.cumsum([0, *map(len, scores)])
    if not num_types:
        return Groups(np.zeros((0, 0), np.int64), np.zeros((0, 1)))
    return group_candidates(np.concatenate(scores), np.concatenate(tags), offsets, order, max_tag_dist)


def group_candidates(
    scores: np.ndarray,
    tags: np.ndarray,
    offsets: np.ndarray,
    order: Sequence[int],
    max_tag_dist: float,
    places: Optional[np.ndarray] = None,
) -> Groups:
    """Do what ``group_by_tag`` does for candidates in one array; type k is at ``offsets[k]:offsets[k + 1]``.

    Args:
        scores: (M,).
        tags: (M, T).
        offsets: (K + 1,).
        order: A permutation of ``range(K)``.
        max_tag_dist: Largest Euclidean tag distance between a candidate and its person.
        places: (M, 2) positions, px. If given, a tag distance of at most ``max_tag_dist`` counts, in the cost alone, as
            many times as the candidate is farther from the middle of the person's members than the nearest candidate
            of its type (Open Model Zoo's rule).

    Raises:
        ValueError: A score or tag is NaN, infinite or too large.
    """
    scores, tags = scores.astype(np.float64), tags.astype(np.float64)
    for name, values in (("scores", scores), ("tags", tags)):
        # Also false for NaN. With infinite costs, there is no assignment to find.
        if not np.abs(values).max(initial=0) <= LARGEST:
            raise ValueError(
                f"{name} of candidates: expected finite values up to {LARGEST:g}; the network's output is broken, or "
                "place_weight is too large"
            )
    compiled = kernel("group")
    if compiled is not None and places is None:
        arguments = np.ascontiguousarray(tags), np.asarray(offsets), np.asarray(order), float(max_tag_dist)
        return Groups(*compiled(scores, *arguments))
    return Groups(*_group(scores, tags, offsets.tolist(), order, max_tag_dist, places))


def _group(
    scores: np.ndarray,
    tags: np.ndarray,
    offsets: Sequence[int],
    order: Sequence[int],
    max_tag_dist: float,
    places: Optional[np.ndarray] = None,
) -> Tuple[np.ndarray, np.ndarray]:
    most = len(scores)
    candidate = np.full((most, len(order)), -1, np.int64)
    sums = np.zeros((most, tags.shape[1]))
    sums_of_places = np.zeros((most, 2))
    counts = np.zeros((most, 1))
    num_people = 0
    for k in order:
        of_type = slice(offsets[k], offsets[k + 1])
        num_candidates = offsets[k + 1] - offsets[k]
        if not num_candidates:
            continue
        tag = tags[of_type]
        person = np.full(num_candidates, -1, np.int64)
        if num_people:
            mean = sums[:num_people] / counts[:num_people]
            distance = tag_distance(tag[:, None], mean[None])
            counted = distance
            if places is not None:
                centres = sums_of_places[:num_people] / counts[:num_people]
                factors = _distance_factors(places[of_type], centres)
                counted = np.where(distance <= max_tag_dist, distance * factors, distance)
            cost = np.rint(counted) * 100 - scores[of_type, None]
            rows, columns = linear_sum_assignment(cost)
            joins = distance[rows, columns] <= max_tag_dist
            person[rows[joins]] = columns[joins]
        new = np.flatnonzero(person < 0)
        person[new] = np.arange(num_people, num_people + len(new))
        num_people += len(new)
        candidate[person, k] = np.arange(num_candidates)
        sums[person] += tag
        if places is not None:
            sums_of_places[person] += places[of_type]
        counts[person] += 1
    return candidate[:num_people], sums[:num_people] / counts[:num_people]


def _distance_factors(places: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return (M, N): distance of each candidate from each person's centre, relative to the nearest candidate's."""
    distance = np.sqrt(((places[:, None] - centres[None]) ** 2).sum(axis=-1))
    return np.asarray(distance / (distance.min(axis=0, keepdims=True) + 1e-10))


def tag_distance(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the Euclidean distance between tags along the last axis."""
    difference = first - second
    if difference.shape[-1] == 1:
        return np.abs(difference[..., 0])
    squares = np.zeros(difference.shape[:-1], difference.dtype)
    for t in range(difference.shape[-1]):  # in the order of the compiled loops
        squares += difference[..., t] ** 2
    return np.asarray(np.sqrt(squares))
