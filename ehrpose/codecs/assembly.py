"""From grouped candidates to people: the steps that ``paper`` and ``fast`` mode share.

Axes: K keypoint types, T tag length, N people, M candidates of a type.
"""

from __future__ import annotations

from typing import Callable, Optional, Tuple

import numpy as np

from ehrpose.codecs.grouping import Groups, group_candidates
from ehrpose.codecs.heatmap import Peaks
from ehrpose.codecs.selection import distinct_people, far_members, person_scores
from ehrpose.codecs.settings import DecodeSettings
from ehrpose.codecs.sides import filled_after, separate_sides
from ehrpose.structures import People


def group_peaks(
    peaks: Peaks, positions: np.ndarray, scores: np.ndarray, tags: np.ndarray, settings: DecodeSettings
) -> Groups:
    """Group the peaks by ``scores`` (M,) and ``tags`` (M, T), with ``dist_reweight`` also by ``positions`` (M, 2)."""
    places = positions if settings.dist_reweight else None
    return group_candidates(scores, tags, peaks.offsets, settings.order, settings.max_tag_dist, places)


def assemble(groups: Groups, peaks: Peaks, positions: np.ndarray, scores: np.ndarray) -> People:
    """Return the people of ``groups`` before filling, in order of creation."""
    num_people, num_types = groups.candidate.shape
    keypoints = np.zeros((num_people, num_types, 2), np.float32)
    keypoint_scores = np.zeros((num_people, num_types), np.float32)
    owners, types = np.nonzero(groups.candidate >= 0)
    members = peaks.offsets[types] + groups.candidate[owners, types]
    keypoints[owners, types] = positions[members]
    keypoint_scores[owners, types] = scores[members]
    return People(keypoints, keypoint_scores, keypoint_scores.mean(axis=1))


def fill(
    people: People, owners: np.ndarray, types: np.ndarray, positions: np.ndarray, scores: np.ndarray
) -> None:
    """Set keypoints of people in place where the heatmap value is positive; person scores are unchanged."""
    found = scores > 0
    people.keypoints[owners[found], types[found]] = positions[found]
    people.keypoint_scores[owners[found], types[found]] = scores[found]


def by_score(people: People, tags: np.ndarray) -> People:
    """Return the people, best score first, with their (N, T) tags."""
    best = np.argsort(-people.scores, kind="stable")
    return People(
        people.keypoints[best],
        people.keypoint_scores[best],
        people.scores[best],
        tags[best].astype(np.float32),
        None if people.filled is None else people.filled[best],
    )


def people_of(
    peaks: Peaks,
    positions: np.ndarray,
    scores: np.ndarray,
    tags: np.ndarray,
    input_wh: Tuple[int, int],
    settings: DecodeSettings,
    complete: Optional[Callable[[People, Groups], None]] = None,
) -> People:
    """Group candidates into people; return them, best score first.

    Args:
        peaks: The M candidates of all types.
        positions: (M, 2) x and y, input px.
        scores: (M,) scores to group by.
        tags: (M, T).
        input_wh: Width and height of the network input, px.
        settings: Thresholds and options.
        complete: Fills in missing keypoints, in place.

    Raises:
        ValueError: The tags or the scores overflow.
    """
    groups = _group_by_tag_and_place(peaks, positions, scores, tags, input_wh, settings)
    if settings.max_limb is not None and settings.limb_lengths is not None:
        from ehrpose.codecs.limbs import cut_groups  # most models do without

        groups = cut_groups(
            groups, peaks.offsets, positions, scores, tags, settings.skeleton, settings.limb_lengths,
            settings.max_limb,
        )  # fmt: skip
    if settings.min_keypoints > 1:
        enough = (groups.candidate >= 0).sum(axis=1) >= settings.min_keypoints
        groups = Groups(groups.candidate[enough], groups.tags[enough])
    people = assemble(groups, peaks, positions, scores)
    if settings.max_spread is not None:
        groups.candidate[far_members(people.keypoints, groups.candidate >= 0, settings.max_spread)] = -1
        people = assemble(groups, peaks, positions, scores)
    members = people.keypoint_scores.copy()
    if complete is not None and len(groups):
        complete(people, groups)
    if (settings.score_power, settings.score_size) != (1.0, 0.0):
        people.scores[:] = person_scores(
            members, people.keypoints, people.keypoint_scores > 0, settings.score_power, settings.score_size,
            input_wh[0] * input_wh[1],
        )  # fmt: skip
        if not np.isfinite(people.scores).all():
            raise ValueError(
                f"scores of people overflow, or are roots of negative numbers, with score_power "
                f"{settings.score_power} and score_size {settings.score_size}: set them closer to 1 and 0"
            )
    people.filled = (groups.candidate < 0) & (people.keypoint_scores > 0)
    people = by_score(people, groups.tags)
    if settings.nms_oks is not None:
        kept = distinct_people(people.keypoints, people.keypoint_scores, settings.sigmas, settings.nms_oks)
        people = people.select(kept)
    if settings.pair_ratio is not None:
        before = people.keypoints.copy()
        separate_sides(
            people, positions, scores, tags, peaks.offsets, settings.paired_limbs, settings.sigmas,
            settings.max_tag_dist, settings.pair_ratio, settings.limb_weight,
        )  # fmt: skip
        assert people.filled is not None
        people.filled = filled_after(people.filled, before, people.keypoints, settings.paired_limbs)
    if settings.max_limb is not None and settings.limb_lengths is not None:
        from ehrpose.codecs.limbs import GUESS, drop_far_parts

        drop_far_parts(people, settings.skeleton, settings.limb_lengths, GUESS * settings.max_limb)
    return people


def _group_by_tag_and_place(
    peaks: Peaks,
    positions: np.ndarray,
    scores: np.ndarray,
    tags: np.ndarray,
    input_wh: Tuple[int, int],
    settings: DecodeSettings,
) -> Groups:
    """Group the peaks by tag; with ``place_weight``, x and y are two more dimensions of the tag."""
    if not settings.place_weight:
        return group_peaks(peaks, positions, scores, tags, settings)
    places = positions * (settings.place_weight / min(input_wh))
    with np.errstate(over="ignore"):  # grouping refuses what overflows
        places = places.astype(tags.dtype)
    groups = group_peaks(peaks, positions, scores, np.concatenate([tags, places], axis=1), settings)
    return Groups(groups.candidate, groups.tags[:, : tags.shape[1]])
