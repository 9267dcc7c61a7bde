"""Skeletons and people of any source for the tracker, as plain arrays."""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence, Union

import numpy as np

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People

# Tolerance of the keypoints of an unknown skeleton: between those of COCO's eyes (0.025) and hips (0.107).
UNKNOWN_SIGMA = 0.05

Skeleton = Union[KeypointMeta, Mapping[str, Any], Sequence[str], int]


class TrackedArrays(NamedTuple):
    """The people of one frame with their ids, in the given order.

    Attributes:
        ids: (N,) int64, the id of each person, from 0; -1 for people who are not (yet) tracked.
        keypoints: (N, K, 2) float32, x and y in px; smoothed if the tracker smooths.
        scores: (N, K) float32, the given scores; 0 for keypoints that are not finite.
    """

    ids: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray


def skeleton_of(keypoints: Skeleton) -> KeypointMeta:
    """Return a skeleton as KeypointMeta.

    Args:
        keypoints: KeypointMeta or its config; of a skeleton that is not known, the names of its keypoints or only their
            number K: then all have a sigma of 0.05.

    Raises:
        ValueError: The config is wrong, or there is no keypoint.
    """
    if isinstance(keypoints, (KeypointMeta, Mapping)):
        return KeypointMeta.build(keypoints)
    if isinstance(keypoints, (int, np.integer)) and not isinstance(keypoints, bool):
        names = [f"keypoint_{index}" for index in range(keypoints)]
    elif isinstance(keypoints, (list, tuple)):
        names = [str(name) for name in keypoints]
    else:
        raise ValueError(
            "keypoints: expected KeypointMeta, its config, names of the keypoints or their number, got "
            f"{type(keypoints).__name__}"
        )
    sigmas = [UNKNOWN_SIGMA] * len(names)
    return KeypointMeta.build(
        {"dataset_name": "unknown", "names": names, "swap": [], "skeleton": [], "sigmas": sigmas}
    )


def people_of_arrays(keypoints: Any, scores: Any, person_scores: Any, num_keypoints: int) -> People:
    """Return arrays as People, in their order; see ``PoseTracker.update_arrays``."""
    given = np.asarray(keypoints, np.float32)
    if not given.size:
        return People.empty(num_keypoints)
    if given.ndim != 3 or given.shape[2] not in ((2, 3) if scores is None else (2,)):
        wanted = "(N, K, 2), or (N, K, 3) with the scores" if scores is None else "(N, K, 2)"
        raise ValueError(f"keypoints have shape {given.shape}, expected {wanted}")
    places = given[..., :2]
    if scores is None:
        scores = given[..., 2] if given.shape[2] == 3 else np.ones(given.shape[:2])
    scores = np.asarray(scores, np.float32)
    if scores.shape != given.shape[:2]:
        raise ValueError(f"scores have shape {scores.shape}, expected {given.shape[:2]} as the keypoints")
    found = np.isfinite(places).all(axis=2) & np.isfinite(scores)
    scores = np.where(found, scores, 0).astype(np.float32)
    of_people = scores.mean(axis=1) if person_scores is None else np.asarray(person_scores, np.float32)
    if of_people.shape != (len(given),):
        raise ValueError(f"person_scores have shape {of_people.shape}, expected ({len(given)},)")
    return People(places, scores, of_people)
