"""Left and right of a person: coinciding pairs are separated, crossed limbs uncrossed (NumPy only).

A network learns late which of two knees is the left one: until then both heatmaps are high at both knees, and grouping
puts both keypoints on the higher peak. Axes: K keypoint types, T tag length, N people, M candidates, P pairs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional, Sequence, Tuple

import numpy as np

from ehrpose.codecs.accelerator import kernel
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import areas_of, tolerated_squares
from ehrpose.structures import People

# Two keypoints are at one place if their similarity, as in OKS, is at least this.
ONE_PLACE = 0.85
# Another place is searched for around the midpoint of the limbs' other ends, up to this multiple of the distance of
# the first place from there.
REACH = 2.0
LEAST_REACH = 4.0  # input px


def paired_limbs(meta: KeypointMeta) -> Tuple[Tuple[int, int, int, int], ...]:
    """Return left, right and the other ends of their limbs, which come before them in the grouping order.

    A pair counts if a limb connects its left keypoint to one of another pair and the mirrored limb exists too.
    """
    limbs = {frozenset(limb) for limb in meta.skeleton}
    found = []
    for rank, left in enumerate(meta.order):
        right = meta.flip_indices[left]
        if left >= right:  # the right one of a pair, or not in a pair
            continue
        for parent in reversed(meta.order[:rank]):
            mirrored = meta.flip_indices[parent]
            if (
                mirrored != parent
                and parent not in (left, right)
                and {frozenset((left, parent)), frozenset((right, mirrored))} <= limbs
            ):
                found.append((left, right, parent, mirrored))
                break
    return tuple(found)


def separate_sides(
    people: People,
    positions: np.ndarray,
    scores: np.ndarray,
    tags: np.ndarray,
    offsets: np.ndarray,
    pairs: Tuple[Tuple[int, int, int, int], ...],
    sigmas: np.ndarray,
    max_tag_dist: float,
    ratio: float,
    limb_weight: float,
) -> None:
    """Separate and swap left and right keypoints of people, in place.

    The score of a place is the sum of the best left and the best right candidate there, among those with the person's
    tag. If both keypoints are at one place and another place has at least ``ratio`` of its score, each keypoint gets
    one of the two; places that the same pair of a better person occupied at the start are excluded. Left and right
    are assigned by the higher sum of scores of the left candidate at the left place and the right one at the right
    place, minus ``limb_weight`` times the length of the limbs in square roots of the person's area. Pairs at two
    places are swapped by the same rule.

    Args:
        people: The people, best first, with tags; keypoints in input px.
        positions: (M, 2) of the candidates, input px.
        scores: (M,).
        tags: (M, T).
        offsets: (K + 1,) where the candidates of each type start.
        pairs: As returned by ``paired_limbs``.
        sigmas: (K,) OKS tolerances.
        max_tag_dist: Largest tag distance between a candidate and its person.
        ratio: Fraction of the first place's score that the second must have.
        limb_weight: See above.
    """
    if not len(people.scores) or not pairs:
        return
    assert people.tags is not None
    index = np.asarray(pairs, np.int64)
    area = areas_of(people.keypoints, people.keypoint_scores > 0).astype(np.float64)
    near = tolerated_squares(ONE_PLACE, np.asarray(sigmas)[index[:, 0]])
    separate = kernel("separate_sides") or _separate
    keypoints, keypoint_scores = (
        people.keypoints.astype(np.float64),
        people.keypoint_scores.astype(np.float64),
    )
    separate(
        keypoints,
        keypoint_scores,
        np.ascontiguousarray(people.tags, np.float64),
        area,
        np.ascontiguousarray(positions, np.float64),
        np.ascontiguousarray(scores, np.float64),
        np.ascontiguousarray(tags, np.float64),
        np.ascontiguousarray(offsets, np.int64),
        index,
        near,
        (
            float(max_tag_dist) * float(max_tag_dist),
            float(ratio),
            float(limb_weight),
            REACH**2,
            LEAST_REACH**2,
        ),
    )
    people.keypoints[:] = keypoints
    people.keypoint_scores[:] = keypoint_scores


def filled_after(
    filled: np.ndarray,
    before: np.ndarray,
    after: np.ndarray,
    pairs: Tuple[Tuple[int, int, int, int], ...],
) -> np.ndarray:
    """Return which keypoints are filled once sides are separated: a place keeps its flag, a new one has a candidate.

    Args:
        filled: (N, K) bool, before.
        before: (N, K, 2) keypoints before ``separate_sides``.
        after: (N, K, 2) and after.
        pairs: As returned by ``paired_limbs``.
    """
    if not pairs:
        return filled
    sides = np.asarray(pairs, np.int64)[:, :2]
    own, other = np.concatenate([sides, sides[:, ::-1]]).T
    stays = (after[:, own] == before[:, own]).all(axis=2)
    swapped = (after[:, own] == before[:, other]).all(axis=2)
    found = filled.copy()
    found[:, own] = np.where(stays, filled[:, own], swapped & filled[:, other])
    return found


def _separate(
    keypoints: np.ndarray, keypoint_scores: np.ndarray, person_tags: np.ndarray, area: np.ndarray,
    positions: np.ndarray, scores: np.ndarray, tags: np.ndarray, offsets: np.ndarray, pairs: np.ndarray,
    near: np.ndarray, settings: Tuple[float, float, float, float, float],
) -> None:  # fmt: skip
    """Do it in float64; ``near`` (P,) is the largest squared distance of one place, as a fraction of the area."""
    max_tag_square, ratio, limb_weight, *reach_squares = settings
    before, scored = keypoints.copy(), keypoint_scores > 0
    for n in range(len(keypoints)):
        for p, (left, right, left_end, right_end) in enumerate(pairs.tolist()):
            if keypoint_scores[n, [left, right, left_end, right_end]].min() <= 0:
                continue
            parts = [slice(offsets[k], offsets[k + 1]) for k in (left, right)]
            candidates = _Candidates(
                np.concatenate([positions[part] for part in parts]),
                np.concatenate([scores[part] for part in parts]),
                np.concatenate([tags[part] for part in parts]),
                offsets[left + 1] - offsets[left],
                near[p] * area[n],
            ).of_person(person_tags[n], max_tag_square)
            first, second = keypoints[n, left].copy(), keypoints[n, right].copy()
            ends = keypoints[n, left_end], keypoints[n, right_end]
            at_one_place = _square(first - second) <= candidates.limit
            if at_one_place:
                if keypoint_scores[n, right] > keypoint_scores[n, left]:
                    first = second
                taken = before[:n, [left, right]][scored[:n, [left, right]]]
                found = candidates.second_place(first, (ends[0] + ends[1]) / 2, ratio, reach_squares, taken)
                if found is None:
                    continue
                second = found
            at_first, at_second = candidates.best_at(first), candidates.best_at(second)
            straight, crossed = at_first[0] + at_second[1], at_second[0] + at_first[1]
            longer = (_length(ends[0] - second) + _length(ends[1] - first)) - (
                _length(ends[0] - first) + _length(ends[1] - second)
            )
            keep = (straight - crossed) + limb_weight * longer / np.sqrt(area[n]) >= 0
            if at_one_place:
                moved, own, other = (right, 1, 0) if keep else (left, 0, 1)
                keypoint_scores[n, moved] = at_second[own] if at_second[own] > 0 else at_second[other]
            elif not keep:
                keypoint_scores[n, [left, right]] = keypoint_scores[n, [right, left]]
            keypoints[n, left], keypoints[n, right] = (first, second) if keep else (second, first)


@dataclass
class _Candidates:
    """The candidates of a left type, then those of its right type.

    Attributes:
        positions: (M, 2).
        scores: (M,), 0 for candidates that are not the person's.
        tags: (M, T).
        num_left: Number of candidates of the left type.
        limit: Largest squared distance of one place, px^2.
    """

    positions: np.ndarray
    scores: np.ndarray
    tags: np.ndarray
    num_left: int
    limit: float

    def of_person(self, person_tag: np.ndarray, max_tag_square: float) -> _Candidates:
        squares = np.zeros(len(self.tags))
        for t in range(self.tags.shape[1]):  # in the order of the compiled loop
            squares += (self.tags[:, t] - person_tag[t]) ** 2
        return replace(self, scores=np.where(squares <= max_tag_square, self.scores, 0.0))

    def best_at(self, place: np.ndarray) -> Tuple[float, float]:
        """Return the best scores of the left and of the right type at a place, 0 without candidates."""
        there = np.where(_square(self.positions - place) <= self.limit, self.scores, 0.0)
        return there[: self.num_left].max(initial=0.0), there[self.num_left :].max(initial=0.0)

    def second_place(
        self,
        first: np.ndarray,
        middle: np.ndarray,
        ratio: float,
        reach_squares: Sequence[float],
        taken: np.ndarray,
    ) -> Optional[np.ndarray]:
        """Return the best other place, the first on a tie, or None if none is good enough.

        ``taken`` (N, 2) are the places of the same pair of better people, which are excluded.
        """
        reach = reach_squares[0] * max(float(_square(first - middle)), reach_squares[1])
        free = (self.scores > 0) & (_square(self.positions - first) > self.limit)
        free &= _square(self.positions - middle) < reach
        free &= (_square(self.positions[:, None] - taken) > self.limit).all(axis=1)
        places = [(sum(self.best_at(self.positions[m])), -m) for m in np.flatnonzero(free).tolist()]
        if not places or max(places)[0] < ratio * sum(self.best_at(first)):
            return None
        return np.asarray(self.positions[-max(places)[1]])


def _square(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector[..., 0] * vector[..., 0] + vector[..., 1] * vector[..., 1])


def _length(vector: np.ndarray) -> float:
    return float(np.sqrt(_square(vector)))
