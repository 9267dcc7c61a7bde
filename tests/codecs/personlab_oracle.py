"""PoseNet's multi-pose decoding in plain Python, from the description of the method; slow, and only for tests.

Source: PersonLab, arXiv:1803.08225, section 3.2, and the published description of PoseNet's multi-pose decoding: roots
from a queue by score, displacements along the tree, refined by short offsets, non-maximum suppression by distance.
"""

import heapq

import numpy as np


def decode(maps, edges, stride=16, radius=20.0, threshold=0.5, max_people=20, refine_steps=2, window=1):
    """Return keypoints (N, K, 2) x and y, input px, their scores (N, K), and scores (N,) of people.

    maps: (heat (K, h, w) logits, short (2K, h, w), forward (2E, h, w), backward (2E, h, w)), px, y before x.
    """
    heat, short, forward, backward = (np.asarray(m, np.float64) for m in maps)
    scores = 1 / (1 + np.exp(-heat))
    num_keypoints, height, width = scores.shape
    queue = []
    for k in range(num_keypoints):
        for y in range(height):
            for x in range(width):
                score = scores[k, y, x]
                if score < threshold:
                    continue
                rows = slice(max(y - window, 0), y + window + 1)
                columns = slice(max(x - window, 0), x + window + 1)
                if scores[k, rows, columns].max() <= score:
                    heapq.heappush(queue, (-score, k, y, x))
    people = []
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
    totals = []
    for i, person in enumerate(people):
        own = 0.0
        for k in range(num_keypoints):
            near = any(((other[k, :2] - person[k, :2]) ** 2).sum() <= radius**2 for other in people[:i])
            own += 0.0 if near else person[k, 2]
        totals.append(own / num_keypoints)
    order = np.argsort(-np.array(totals), kind="stable")
    poses = np.array([people[i] for i in order]).reshape(-1, num_keypoints, 3)
    return poses[..., :2], poses[..., 2], np.array(totals)[order]


def follow(source, edge, target, displacements, short, scores, stride, refine_steps):
    """Return x, y and score of the keypoint at the other end of an edge."""
    num_keypoints, height, width = scores.shape
    num_edges = len(displacements) // 2

    def cell(position):
        """Return row and column of the cell nearest to (x, y)."""
        x, y = (int(np.floor(value / stride + 0.5)) for value in position)
        return min(max(y, 0), height - 1), min(max(x, 0), width - 1)

    y, x = cell(source[:2])
    place = (source[0] + displacements[num_edges + edge, y, x], source[1] + displacements[edge, y, x])
    for _ in range(refine_steps):
        y, x = cell(place)
        place = (
            x * stride + short[num_keypoints + target, y, x],
            y * stride + short[target, y, x],
        )
    y, x = cell(place)
    return (*place, scores[target, y, x])
