"""What the small networks see of a pose besides places: directions, turns of joints, lengths.

All are products of coordinates, which two small layers learn only with far more people. N people, K keypoint types.
"""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np

# Softening of directions, in the unit of the places: a shorter vector counts for less.
_SOFT = (0.1, 0.02)
# People whose K x K distances are made at once.
_VALUES = 2**22


def pair_directions(places: np.ndarray, known: np.ndarray, pairs: Sequence[Tuple[int, int]]) -> np.ndarray:
    """Return (N, 4 P) directions from the second to the first keypoint of each pair, in two strengths of softening.

    Args:
        places: (N, K, 2).
        known: (N, K) bool; a pair without both keypoints has zeros.
        pairs: P pairs of keypoint indices.
    """
    first, second = _columns(pairs)
    offsets = (places[:, first] - places[:, second]) * (known[:, first] & known[:, second])[..., None]
    lengths = np.linalg.norm(offsets, axis=-1, keepdims=True)
    parts = [(offsets / (lengths + soft)).reshape(len(places), -1) for soft in _SOFT]
    return np.concatenate(parts, axis=1)


def joints_of(limbs: Sequence[Tuple[int, int]]) -> List[Tuple[int, int, int]]:
    """Return (end, joint, other end) of each two limbs that share a keypoint."""
    joints = []
    for number, limb in enumerate(limbs):
        for other in limbs[number + 1 :]:
            shared = set(limb) & set(other)
            ends = sorted(set(limb) ^ set(other))
            if len(shared) == 1 and len(ends) == 2:
                joints.append((ends[0], shared.pop(), ends[1]))
    return joints


def joint_turns(places: np.ndarray, known: np.ndarray, joints: Sequence[Tuple[int, int, int]]) -> np.ndarray:
    """Return (N, J) sines of the angles at joints, softened where limbs are short; 0 if not all are labelled."""
    first, middle, last = _columns(joints, 3)
    u, v = places[:, first] - places[:, middle], places[:, last] - places[:, middle]
    lengths = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    turns = (u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]) / (lengths + _SOFT[1])
    return np.asarray(turns * (known[:, first] & known[:, middle] & known[:, last]))


def limb_lengths(places: np.ndarray, known: np.ndarray, limbs: Sequence[Tuple[int, int]]) -> np.ndarray:
    """Return (N, L) lengths of limbs; 0 if not both ends are labelled."""
    first, second = _columns(limbs)
    lengths = np.linalg.norm(places[:, first] - places[:, second], axis=-1)
    return np.asarray(lengths * (known[:, first] & known[:, second]))


def nearest_others(places: np.ndarray, known: np.ndarray, most: float) -> np.ndarray:
    """Return (N, K) distances to the nearest other labelled keypoint, at most ``most``; 0 if not labelled."""
    num_keypoints = places.shape[1]
    rows = max(1, _VALUES // num_keypoints**2)
    nearest = np.empty(known.shape, places.dtype)
    for start in range(0, len(places), rows):
        part = slice(start, start + rows)
        offsets = places[part, :, None] - places[part, None]
        squares = (offsets**2).sum(axis=-1)
        squares[~(known[part, :, None] & known[part, None])] = most**2
        squares[:, range(num_keypoints), range(num_keypoints)] = most**2
        nearest[part] = np.sqrt(np.minimum(squares.min(axis=2), most**2))
    return nearest * known


def _columns(tuples: Sequence[Tuple[int, ...]], width: int = 2) -> Any:
    return np.array(tuples, np.int64).reshape(-1, width).T
