"""Group keypoint candidates into people by their tags (NumPy and SciPy only).

Source: Newell et al., Associative Embedding, arXiv:1611.05424, section 3.3.
Axes: K keypoint types, M candidates of a type (differs by type), T tag length, N people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclass
class Groups:
    """The people that grouping made of candidates, in the order in which they were started.

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
    """Give every candidate to one person.

    Types are visited in ``order``. The candidates of a type are matched with the people so far by minimum
    total cost ``round(distance) * 100 - score``, the distance between the candidate's tag and the person's
    mean tag. A candidate left over, or farther than ``max_tag_dist`` from its match, starts a new person.
    People are told apart by their place in the list, never by the value of a tag.

    Args:
        scores: K arrays (M,), heatmap value of each candidate.
        tags: K arrays (M, T), tag of each candidate.
        order: A permutation of ``range(K)``, easiest types first.
        max_tag_dist: Largest Euclidean tag distance between a candidate and its person.

    Raises:
        ValueError: ``order`` is no permutation, or scores and tags disagree in number.
    """
    num_types = len(scores)
    if sorted(order) != list(range(num_types)) or len(tags) != num_types:
        raise ValueError(
            f"wanted {num_types} tag arrays and an order of them, got {len(tags)} and {list(order)}"
        )
    tag_length = tags[0].shape[1] if num_types else 1
    members: List[np.ndarray] = []
    sums = np.zeros((0, tag_length))
    counts = np.zeros(0)
    for k in order:
        if len(scores[k]) != len(tags[k]):
            raise ValueError(f"type {k} has {len(scores[k])} scores and {len(tags[k])} tags")
        if not len(scores[k]):
            continue
        tag = tags[k].astype(np.float64)
        person = _match(scores[k].astype(np.float64), tag, sums, counts, max_tag_dist)
        for new in np.flatnonzero(person < 0):
            person[new] = len(members)
            members.append(np.full(num_types, -1, np.int64))
            sums = np.vstack([sums, np.zeros((1, tag_length))])
            counts = np.append(counts, 0)
        for m, p in enumerate(map(int, person)):
            members[p][k] = m
        sums[person] += tag
        counts[person] += 1
    candidate = np.stack(members) if members else np.zeros((0, num_types), np.int64)
    return Groups(candidate, sums / np.maximum(counts, 1)[:, None])


def _match(
    score: np.ndarray, tag: np.ndarray, sums: np.ndarray, counts: np.ndarray, max_tag_dist: float
) -> np.ndarray:
    """Return the person (index) that each candidate joins, -1 for a new one."""
    person = np.full(len(score), -1, np.int64)
    if not len(sums):
        return person
    mean = sums / counts[:, None]
    distance = np.sqrt(((tag[:, None] - mean[None]) ** 2).sum(axis=2))
    rows, columns = linear_sum_assignment(np.round(distance) * 100 - score[:, None])
    joins = distance[rows, columns] <= max_tag_dist
    person[rows[joins]] = columns[joins]
    return person
