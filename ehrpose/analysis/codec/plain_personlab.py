"""PoseNet's multi-pose decoding in plain Python, from the description of the method: what ours is compared with.

Source: PersonLab, arXiv:1803.08225, section 3.2, and the published description of PoseNet's multi-pose decoding: roots
from a queue by score, displacements along the tree, refined by short offsets, non-maximum suppression by distance.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np


def decode_plain(
    maps: Sequence[np.ndarray],
    edges: Sequence[Sequence[int]],
    stride: int = 16,
    radius: float = 20.0,
    threshold: float = 0.5,
    max_people: int = 20,
    refine_steps: int = 2,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return keypoints (N, K, 2) x and y, input px, their scores (N, K), and scores (N,) of people, best first.

    Args:
        maps: Heatmaps (K, h, w), logits; short (2 K, h, w), forward and backward (2 E, h, w) offsets, px, y before x.
        edges: Pairs of keypoint types, parent before child.
        stride: Px of the input between map pixels.
        radius: No person grows within this distance of the same keypoint of another one, px.
        threshold: Least probability of a root.
        max_people: Most people.
        refine_steps: Refinements of a position with short offsets.
    """
    heat, short, forward, backward = (np.asarray(m, np.float64) for m in maps[:4])
    scores = 1 / (1 + np.exp(-heat))
    num_keypoints = len(scores)
    queue = roots(scores, threshold)
    people: list[np.ndarray] = []
    while queue and len(people) < max_people:
        negative, k, y, x = heapq.heappop(queue)
        root = np.array([x * stride + short[num_keypoints + k, y, x], y * stride + short[k, y, x]])
        if any(((person[k][:2] - root) ** 2).sum() <= radius**2 for person in people):
            continue
        pose = {k: (*root, -negative)}
        for e in reversed(range(len(edges))):
            parent, child = edges[e]
            if child in pose and parent not in pose:
                pose[parent] = follow(pose[child], e, parent, backward, short, scores, stride, refine_steps)
        for e, (parent, child) in enumerate(edges):
            if parent in pose and child not in pose:
                pose[child] = follow(pose[parent], e, child, forward, short, scores, stride, refine_steps)
        people.append(np.array([pose[k] for k in range(num_keypoints)]))
    totals = np.array([own_score(person, people[:i], radius) for i, person in enumerate(people)])
    order = np.argsort(-totals, kind="stable")
    poses = np.array([people[i] for i in order]).reshape(-1, num_keypoints, 3)
    return poses[..., :2], poses[..., 2], totals[order]


def roots(scores: np.ndarray, threshold: float) -> list[tuple[float, int, int, int]]:
    """Return a heap of the local maxima (3 x 3): negative score, type, row and column."""
    queue: list[tuple[float, int, int, int]] = []
    for k, plane in enumerate(scores):
        for y in range(plane.shape[0]):
            for x in range(plane.shape[1]):
                score = plane[y, x]
                around = plane[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
                if score >= threshold and around.max() <= score:
                    heapq.heappush(queue, (-score, k, y, x))
    return queue


def follow(
    source: Sequence[float],
    edge: int,
    target: int,
    displacements: np.ndarray,
    short: np.ndarray,
    scores: np.ndarray,
    stride: int,
    refine_steps: int,
) -> tuple[float, float, float]:
    """Return x, y and score of the keypoint at the other end of an edge."""
    num_keypoints, height, width = scores.shape
    num_edges = len(displacements) // 2

    def cell(position: Sequence[float]) -> tuple[int, int]:
        """Return row and column of the pixel nearest to (x, y)."""
        x, y = (int(np.floor(value / stride + 0.5)) for value in position)
        return min(max(y, 0), height - 1), min(max(x, 0), width - 1)

    y, x = cell(source[:2])
    place = (source[0] + displacements[num_edges + edge, y, x], source[1] + displacements[edge, y, x])
    for _ in range(refine_steps):
        y, x = cell(place)
        place = (x * stride + short[num_keypoints + target, y, x], y * stride + short[target, y, x])
    y, x = cell(place)
    return (*place, scores[target, y, x])


def own_score(person: np.ndarray, others: Sequence[np.ndarray], radius: float) -> float:
    """Return the mean score of the keypoints that no better person has within ``radius``; the others count 0."""
    total = 0.0
    for k, (x, y, score) in enumerate(person):
        if all((other[k, 0] - x) ** 2 + (other[k, 1] - y) ** 2 > radius**2 for other in others):
            total += score
    return total / len(person)
