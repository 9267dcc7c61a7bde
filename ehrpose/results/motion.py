"""Segment lengths and joint angles of people in every frame, for the analysis of motion (no torch).

Both are those of the photo's plane: a limb that points at the camera is short, and its angles are not those in space.
Axes: K keypoint types, L segments, J joints; any axes may come before them, such as frames and people.
"""

from __future__ import annotations

import csv
import functools
import io
import math
import re
from typing import Any, Dict, FrozenSet, Iterable, List, Mapping, NamedTuple, Optional, Tuple, Union

import numpy as np

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.limbs import limb_lengths
from ehrpose.results.results import Results
from ehrpose.results.writers import OneFileWriter
from ehrpose.structures import People

__all__ = ["Joint", "joint_angles", "joints", "segment_lengths", "segments"]

Skeleton = Union[KeypointMeta, Mapping[str, Any]]
# Words of the names of keypoints whose limbs are the outline of a face, not segments that turn about a joint.
_FACE = {"brow", "chin", "ear", "eye", "eyebrow", "face", "jaw", "lip", "mouth", "nose"}
_SHARED = ("frame", "time", "person", "id")
_SHARE_FILLED = "filled"


class Joint(NamedTuple):
    """A keypoint where two segments meet.

    Attributes:
        name: Name of the keypoint.
        first: Index of the far end of one segment.
        centre: Index of the keypoint itself.
        last: Index of the far end of the other segment.
    """

    name: str
    first: int
    centre: int
    last: int


def segments(skeleton: Skeleton) -> Tuple[Tuple[int, int], ...]:
    """Return L pairs of keypoint indices: the skeleton's limbs in its order, those that are there twice once."""
    return _segments(KeypointMeta.build(skeleton))


def joints(skeleton: Skeleton) -> Tuple[Joint, ...]:
    """Return J joints in the order of the keypoints, each once.

    A joint is a keypoint where exactly two limbs meet. These do not count:

    - limbs that end in the face (a word of the keypoint's name is nose, eye, ear, mouth, ...);
    - limbs between a keypoint and its mirror image (left hip to right hip);
    - at a keypoint of the left or right side: limbs to the middle of the body (neck), if two others remain.

    For COCO these are shoulders (elbow, hip), elbows (shoulder, wrist), hips (shoulder, knee) and knees (hip, ankle).
    """
    return _joints(KeypointMeta.build(skeleton))


def segment_lengths(people: Any, skeleton: Optional[Skeleton] = None) -> np.ndarray:
    """Return the length of each segment.

    Args:
        people: Results, People, or an array (..., K, 2) of x and y in px or (..., K, 3) with the scores: of one person,
            of the people of a frame, of a person over time.
        skeleton: KeypointMeta or its config; may be left out for Results, which have theirs.

    Returns:
        (..., L) float64 px in the order of ``segments``; NaN where an end is missing: its score is 0, or it is not
        finite.

    Raises:
        ValueError: The skeleton is missing, or has another number of keypoints.
    """
    points, present, meta = _points(people, skeleton)
    count, pairs = meta.num_keypoints, segments(meta)
    lengths = limb_lengths(points.reshape(-1, count, 2), present.reshape(-1, count), pairs)
    return lengths.reshape(*present.shape[:-1], len(pairs))


def joint_angles(people: Any, skeleton: Optional[Skeleton] = None) -> np.ndarray:
    """Return the inner angle between the two segments of each joint.

    Args:
        people: As for ``segment_lengths``.
        skeleton: Likewise.

    Returns:
        (..., J) float64 degrees, 0 to 180 (stretched), in the order of ``joints``; NaN where one of the three keypoints
        is missing, or two are at the same place.

    Raises:
        ValueError: As for ``segment_lengths``.
    """
    points, present, meta = _points(people, skeleton)
    first, centre, last = np.array([joint[1:] for joint in joints(meta)], np.int64).reshape(-1, 3).T
    there, on = points[..., first, :] - points[..., centre, :], points[..., last, :] - points[..., centre, :]
    # The arctangent is exact near 0 and 180 degrees, where the arccosine is not.
    across = there[..., 0] * on[..., 1] - there[..., 1] * on[..., 0]
    angles = np.degrees(np.arctan2(np.abs(across), (there * on).sum(axis=-1)))
    whole = present[..., first] & present[..., centre] & present[..., last]
    return np.where(whole & there.any(axis=-1) & on.any(axis=-1), angles, np.nan)


def motion_columns(skeleton: Skeleton) -> Tuple[str, ...]:
    """Return the columns of ``motion_rows``: ``left_hip-left_knee_px`` of a segment, ``left_knee_deg`` of a joint."""
    meta = KeypointMeta.build(skeleton)
    lengths = [f"{meta.names[first]}-{meta.names[last]}_px" for first, last in segments(meta)]
    return (*_SHARED, *lengths, *(f"{joint.name}_deg" for joint in joints(meta)), _SHARE_FILLED)


def motion_rows(results: Results) -> List[Dict[str, Any]]:
    """Return a row for each person, with the keys ``motion_columns``; None where a keypoint is missing."""
    columns = motion_columns(results.meta)
    measured = np.concatenate([segment_lengths(results), joint_angles(results)], axis=1)
    rows = []
    for n in range(len(results)):
        values = [None if math.isnan(value) else round(value, 2) for value in measured[n].tolist()]
        person_id = None if results.ids is None else int(results.ids[n])
        row = (results.frame, results.time, n, person_id, *values, _share_filled(results.people, n))
        rows.append(dict(zip(columns, row)))
    return rows


class MotionWriter(OneFileWriter):
    """A row for each person and frame, with the columns of docs/results.md: ``NAME_motion.csv``."""

    suffix = "_motion.csv"
    # Of a run without photos.
    start = ",".join((*_SHARED, _SHARE_FILLED)) + "\n"

    def text(self, results: Results) -> str:
        return "".join(_csv_line(row.values()) for row in motion_rows(results))

    def add(self, results: Results, stem: str) -> None:
        if not self._file.is_begun:
            self.start = _csv_line(motion_columns(results.meta))
        super().add(results, stem)


# A video has one skeleton for all of its frames.
@functools.lru_cache(maxsize=4)
def _segments(meta: KeypointMeta) -> Tuple[Tuple[int, int], ...]:
    found: Dict[FrozenSet[int], Tuple[int, int]] = {}
    for limb in meta.skeleton:
        found.setdefault(frozenset(limb), limb)
    return tuple(found.values())


@functools.lru_cache(maxsize=4)
def _joints(meta: KeypointMeta) -> Tuple[Joint, ...]:
    mirror = meta.flip_indices
    in_face = [bool(_FACE & set(re.split(r"[^a-z]+", name.lower()))) for name in meta.names]
    meeting: List[List[int]] = [[] for _ in meta.names]
    for first, last in _segments(meta):
        if last not in (first, mirror[first]) and not (in_face[first] or in_face[last]):
            meeting[first].append(last)
            meeting[last].append(first)
    found = []
    for centre, ends in enumerate(meeting):
        if mirror[centre] != centre:
            sideways = [end for end in ends if mirror[end] != end]
            ends = sideways if len(sideways) >= 2 else ends
        if len(ends) == 2:
            found.append(Joint(meta.names[centre], ends[0], centre, ends[1]))
    return tuple(found)


def _csv_line(values: Iterable[Any]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(values)
    return buffer.getvalue()


def _share_filled(people: People, n: int) -> Optional[float]:
    """Return which share of a person's keypoints no peak supports; None if the model does not tell."""
    if people.filled is None:
        return None
    found = people.keypoint_scores[n] > 0
    return round(float((people.filled[n] & found).sum() / max(int(found.sum()), 1)), 3)


def _points(people: Any, skeleton: Optional[Skeleton]) -> Tuple[np.ndarray, np.ndarray, KeypointMeta]:
    """Return (..., K, 2) float64 px, zeros where missing, (..., K) bool where not, and the skeleton."""
    if skeleton is None:
        if not isinstance(people, Results):
            raise ValueError(
                "expected a skeleton (KeypointMeta or its config) with people that are not Results"
            )
        skeleton = people.meta
    meta = KeypointMeta.build(skeleton)
    if isinstance(people, (Results, People)):
        points, scores = np.asarray(people.keypoints, np.float64), people.keypoint_scores
    else:
        given = np.asarray(people, np.float64)
        if given.ndim < 2 or given.shape[-1] not in (2, 3):
            raise ValueError(f"expected keypoints of shape (..., K, 2) or (..., K, 3), got {given.shape}")
        points = given[..., :2]
        scores = given[..., 2] if given.shape[-1] == 3 else np.ones(given.shape[:-1])
    if points.shape[-2] != meta.num_keypoints:
        raise ValueError(
            f"people have {points.shape[-2]} keypoints, expected {meta.num_keypoints} for the skeleton "
            f"{meta.dataset_name!r}"
        )
    present = np.isfinite(points).all(axis=-1) & (np.nan_to_num(scores) > 0)
    return np.where(present[..., None], points, 0.0), present, meta
