"""People as the ``KeyPoints`` of the package supervision, and back."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from ehrpose.structures import People


def to_supervision(people: People) -> Any:
    """Return people as ``supervision.KeyPoints``: positions, the score of each keypoint, and of each person.

    The scores of the people are in ``detection_confidence`` where the installed version has it, else in
    ``data["scores"]``. Class 0 stands for a person.

    Raises:
        ImportError: supervision is not installed.
    """
    keypoints_type = _keypoints_type()
    fields: dict[str, Any] = {
        "xy": people.keypoints.astype(np.float32),
        "class_id": np.zeros(len(people), np.int64),
    }
    known = keypoints_type.__dataclass_fields__
    fields["keypoint_confidence" if "keypoint_confidence" in known else "confidence"] = people.keypoint_scores
    if "detection_confidence" in known:
        fields["detection_confidence"] = people.scores
    else:
        fields["data"] = {"scores": people.scores}
    return keypoints_type(**fields)


def from_supervision(keypoints: Any) -> People:
    """Return ``supervision.KeyPoints`` as people, best first.

    Without scores of the keypoints they count as 1, those at (0, 0), which supervision takes for missing, as 0. Without
    scores of the people these are the means of their keypoints'.

    Raises:
        TypeError: It is something else.
    """
    people = people_in_order(keypoints)
    return people.select(np.argsort(-people.scores, kind="stable"))


def people_in_order(keypoints: Any) -> People:
    """Return ``supervision.KeyPoints`` as people in their own order; otherwise as ``from_supervision``."""
    xy = getattr(keypoints, "xy", None)
    if xy is None or np.ndim(xy) != 3:
        raise TypeError(
            f"expected supervision.KeyPoints with xy of (N, K, 2), got {type(keypoints).__name__}"
        )
    xy = np.asarray(xy, np.float32)
    # The former name warns in versions that have the present one.
    name = "keypoint_confidence" if hasattr(keypoints, "keypoint_confidence") else "confidence"
    confidence = getattr(keypoints, name, None)
    found = xy.any(axis=2) if confidence is None else confidence
    keypoint_scores = np.asarray(found, np.float32)
    scores = getattr(keypoints, "detection_confidence", None)
    if scores is None:
        scores = (getattr(keypoints, "data", None) or {}).get("scores")
    if scores is None:
        scores = keypoint_scores.mean(axis=1) if len(xy) else np.zeros(0)
    return People(xy, keypoint_scores, np.asarray(scores, np.float32))


def visible_people(keypoints: Any) -> People:
    """Return ``people_in_order``; keypoints that are not ``visible``, where that is set, have the score 0."""
    people = people_in_order(keypoints)
    visible = getattr(keypoints, "visible", None)
    if visible is not None:
        people.keypoint_scores = np.where(visible, people.keypoint_scores, np.float32(0))
    return people


def with_ids(keypoints: Any, people: People, ids: np.ndarray) -> Any:
    """Return a copy of ``supervision.KeyPoints`` with the places of ``people`` and ``data["tracker_id"]``, (N,)."""
    changed = copy.copy(keypoints)
    if len(people):
        changed.xy = people.keypoints.copy()
    changed.data = {**(getattr(keypoints, "data", None) or {}), "tracker_id": ids}
    return changed


def _keypoints_type() -> Any:
    try:
        from supervision import KeyPoints
    except ImportError as error:
        raise ImportError("supervision is not installed: pip install supervision") from error
    return KeyPoints
