"""The tree of keypoints along which mid-range offsets lead from one keypoint to the next (NumPy only).

Axes: K keypoint types, E = K - 1 edges.
"""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

import numpy as np

from ehrpose.keypoint_meta import KeypointMeta

# PoseNet's tree of COCO's keypoints, parent before child, in the order of the maps in its published files.
COCO_EDGES = (
    ("nose", "left_eye"), ("left_eye", "left_ear"), ("nose", "right_eye"), ("right_eye", "right_ear"),
    ("nose", "left_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"),
    ("left_shoulder", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
    ("nose", "right_shoulder"), ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"),
    ("right_shoulder", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
)  # fmt: skip


class OffsetTree:
    """Edges between keypoint types, and the ways along them from each type to all others.

    A move is a step along an edge: moves 0 to E - 1 lead from parent to child, E to 2 E - 1 from child to parent.

    Args:
        meta: The skeleton.
        edges: Pairs of keypoint names, parent and child; None: PoseNet's tree of COCO's keypoints.

    Attributes:
        edges: (E, 2) int64, indices of parent and child.
        ways: (K, E, 3) int64: for each type as the root, source, target and move of each step, such that the source of
            a step is the root or the target of a step before.
        levels: (K, K) int64: number of moves from the root, the first axis, to each type.

    Raises:
        ValueError: A name is unknown, or the edges are no tree of all keypoints.
    """

    def __init__(self, meta: KeypointMeta, edges: Optional[Sequence[Sequence[str]]] = None):
        index = {name: i for i, name in enumerate(meta.names)}
        pairs = [tuple(edge) for edge in (COCO_EDGES if edges is None else edges)]
        unknown = sorted({str(name) for pair in pairs for name in pair if name not in index})
        if unknown:
            hint = ": give edges=, pairs of names of your keypoints" if edges is None else ""
            raise ValueError(f"edges: unknown keypoints {unknown}{hint}")
        k = meta.num_keypoints
        self.edges = np.array([[index[name] for name in pair] for pair in pairs], np.int64).reshape(-1, 2)
        found = [_way(root, self.edges) for root in range(k)]
        if len(pairs) != k - 1 or any(len(way) != k - 1 for way, _ in found):
            raise ValueError(
                f"edges: expected a tree, {k - 1} pairs that connect all {k} keypoints, got {len(pairs)} pairs that "
                f"lead from {meta.names[0]} to {len(found[0][0])} others"
            )
        self.ways = np.array([way for way, _ in found], np.int64).reshape(k, k - 1, 3)
        self.levels = np.array([levels for _, levels in found], np.int64)

    @property
    def num_edges(self) -> int:
        """E, the number of edges."""
        return len(self.edges)

    def mirrored_edges(self, flip_indices: Sequence[int]) -> Optional[Tuple[int, ...]]:
        """Return the edge that each becomes in a mirrored image; None if one becomes no edge."""
        places = {(int(a), int(b)): i for i, (a, b) in enumerate(self.edges)}
        mirrored = [places.get((flip_indices[a], flip_indices[b])) for a, b in self.edges]
        return None if None in mirrored else tuple(i for i in mirrored if i is not None)


def _way(root: int, edges: np.ndarray) -> Tuple[List[Tuple[int, int, int]], List[int]]:
    """Return the steps from ``root`` to all types that can be reached, nearest first, and the number of moves."""
    ends: List[Tuple[int, int, int]] = []
    for e, (parent, child) in enumerate(edges.tolist()):
        ends += [(parent, child, e), (child, parent, len(edges) + e)]
    steps: List[Tuple[int, int, int]] = []
    level = {root: 0}
    for source in (reached := [root]):
        for start, target, move in ends:
            if start == source and target not in level:
                level[target] = level[source] + 1
                steps.append((source, target, move))
                reached.append(target)
    return steps, [level.get(k, -1) for k in range(int(edges.max(initial=root)) + 1)]
