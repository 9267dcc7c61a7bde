"""Option ``max_limb`` of ``fast`` decoding: no limb is impossibly long for its person (NumPy only).

Axes: N people, K keypoint types, L limbs, T tag length, M candidates.
"""

from __future__ import annotations

from typing import List, Tuple

import numpy as np

from ehrpose.codecs.grouping import Groups
from ehrpose.limbs import too_long
from ehrpose.structures import People

# Positions are uncertain by a pixel of the coarsest map.
SLACK = 4.0  # input px
# What is cut off with at least this many keypoints is a person of its own.
FEWEST_KEYPOINTS = 3
# Keypoints that were filled in, or put to the other side, are guesses: they may be farther by this factor.
GUESS = 1.75


def far_parts(
    keypoints: np.ndarray,
    scores: np.ndarray,
    skeleton: np.ndarray,
    usual: np.ndarray,
    factor: float,
) -> Tuple[np.ndarray, np.ndarray]:
    """Find the keypoints that only a limb that is too long connects to the rest of their person.

    Without its limbs that are too long, a person falls into parts. The part with the highest sum of scores is the
    person; the others at the ends of those limbs are cut off.

    Args:
        keypoints: (N, K, 2) input px.
        scores: (N, K), 0 where a person has none.
        skeleton: (L, 2) keypoint indices of the limbs.
        usual: (L,) their usual lengths.
        factor: See ``too_long``.

    Returns:
        (N, K) bool, what is cut off, and (N, K) int64, the lowest keypoint index of each one's part.
    """
    present = scores > 0
    num_types = scores.shape[1]
    cut, part = np.zeros_like(present), np.zeros(scores.shape, np.int64)
    long = too_long(keypoints, present, skeleton, usual, factor, SLACK)
    (affected,) = np.nonzero(long.any(axis=1))
    if not len(affected):
        return cut, part
    long, present, scores = long[affected], present[affected], scores[affected]
    first, second = skeleton.T
    joined = present[:, first] & present[:, second] & ~long
    connected = np.zeros((len(affected), num_types, num_types), np.float32)
    connected[:, np.arange(num_types), np.arange(num_types)] = 1
    owners, limbs = np.nonzero(joined)
    connected[owners, first[limbs], second[limbs]] = connected[owners, second[limbs], first[limbs]] = 1
    for _ in range(max(num_types - 1, 1).bit_length()):  # paths of 1, 2, 4, ... limbs
        connected = np.minimum(connected @ connected, 1)
    ends = np.zeros(present.shape, np.float32)
    owners, limbs = np.nonzero(long)
    ends[owners, first[limbs]] = ends[owners, second[limbs]] = 1
    found_part = connected.argmax(axis=2)
    # Sums over a part, in the order of the keypoints: equal for all of its members.
    sums = np.where(present, (connected * scores[:, None]).sum(axis=2, dtype=np.float64), -1)
    best = np.take_along_axis(found_part, sums.argmax(axis=1)[:, None], axis=1)
    at_end = (connected @ ends[..., None])[..., 0] > 0
    cut[affected] = present & at_end & (found_part != best)
    part[affected] = found_part
    return cut, part


def cut_groups(
    groups: Groups,
    offsets: np.ndarray,
    positions: np.ndarray,
    scores: np.ndarray,
    tags: np.ndarray,
    skeleton: np.ndarray,
    usual: np.ndarray,
    factor: float,
) -> Groups:
    """Cut parts off that are too far away; those of at least three keypoints become people, after all others.

    Args:
        groups: The people.
        offsets: (K + 1,) where the candidates of each type start.
        positions: (M, 2) of the candidates, input px.
        scores: (M,).
        tags: (M, T).
        skeleton: (L, 2) keypoint indices of the limbs.
        usual: (L,) their usual lengths.
        factor: See ``too_long``.
    """
    if not len(groups):
        return groups
    has = groups.candidate >= 0
    members = np.where(has, offsets[:-1] + groups.candidate, 0)
    # A score may be 0 or less; what counts as a member here is having a candidate.
    counted = np.where(has, np.maximum(scores[members], np.finfo(np.float32).tiny), 0)
    cut, part = far_parts(positions[members], counted, skeleton, usual, factor)
    (changed,) = np.nonzero(cut.any(axis=1))
    if not len(changed):
        return groups
    candidate, means = groups.candidate.copy(), groups.tags.copy()
    rows: List[np.ndarray] = []
    for person in changed.tolist():
        for label in np.unique(part[person, cut[person]]):
            of_part = cut[person] & (part[person] == label)
            if np.count_nonzero(of_part) >= FEWEST_KEYPOINTS:
                rows.append(np.where(of_part, candidate[person], -1))
    candidate[cut] = -1
    candidate = np.concatenate([candidate, np.reshape(rows, (-1, candidate.shape[1])).astype(np.int64)])
    means = np.concatenate([means, np.zeros((len(rows), means.shape[1]))])
    for person in [*changed.tolist(), *range(len(groups), len(candidate))]:
        (types,) = np.nonzero(candidate[person] >= 0)
        means[person] = tags[offsets[types] + candidate[person, types]].mean(axis=0, dtype=np.float64)
    return Groups(candidate, means)


def drop_far_parts(people: People, skeleton: np.ndarray, usual: np.ndarray, factor: float) -> None:
    """Remove keypoints that are too far away, in place: position and score 0; see ``far_parts``."""
    changed = np.arange(len(people.scores))
    while len(changed):  # what is usual at a person's scale changes with what is cut off
        counted = people.keypoint_scores[changed]
        if people.filled is not None:  # a guess does not outweigh what supports the person
            counted = np.where(people.filled[changed], counted * np.float32(1e-3), counted)
        cut, _ = far_parts(people.keypoints[changed], counted, skeleton, usual, factor)
        of_people, of_types = np.nonzero(cut)
        rows = changed[of_people]
        people.keypoints[rows, of_types] = 0
        people.keypoint_scores[rows, of_types] = 0
        if people.filled is not None:
            people.filled[rows, of_types] = False
        changed = changed[cut.any(axis=1)]
