"""Results in the JSON of OpenPose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

import numpy as np

if TYPE_CHECKING:
    from ehrpose.results.results import Results

_VERSION = 1.3
# BODY_25, in its order: one keypoint of COCO, or two whose middle it is; None: a place that COCO has no keypoint for.
BODY_25: Tuple[Optional[Tuple[str, ...]], ...] = (
    ("nose",), ("left_shoulder", "right_shoulder"),
    ("right_shoulder",), ("right_elbow",), ("right_wrist",), ("left_shoulder",), ("left_elbow",), ("left_wrist",),
    ("left_hip", "right_hip"),
    ("right_hip",), ("right_knee",), ("right_ankle",), ("left_hip",), ("left_knee",), ("left_ankle",),
    ("right_eye",), ("left_eye",), ("right_ear",), ("left_ear",),
    None, None, None, None, None, None,
)  # fmt: skip


def openpose_content(results: Results) -> Dict[str, Any]:
    """Return the people as OpenPose's JSON, keypoints in px; those that were not found are 0, 0, 0.

    A skeleton with the names of COCO becomes BODY_25: neck and middle of the hips are the middles of both sides, feet
    are missing. Others keep their own order.
    """
    needed = {name for names in BODY_25 for name in names or ()}
    is_coco = needed <= set(results.names)
    people = [
        {
            "person_id": [-1 if results.ids is None else int(results.ids[n])],
            "pose_keypoints_2d": _body_25(results, n) if is_coco else _own(results, n),
            "face_keypoints_2d": [], "hand_left_keypoints_2d": [], "hand_right_keypoints_2d": [],
            "pose_keypoints_3d": [], "face_keypoints_3d": [], "hand_left_keypoints_3d": [],
            "hand_right_keypoints_3d": [],
        }
        for n in range(len(results))
    ]  # fmt: skip
    return {"version": _VERSION, "people": people}


def _points(results: Results, n: int) -> np.ndarray:
    """Return (K, 3) x, y, score of a person, zeros where nothing was found."""
    points = np.column_stack([results.keypoints[n], results.keypoint_scores[n]]).astype(np.float64)
    points[results.keypoint_scores[n] <= 0] = 0
    return points


def _own(results: Results, n: int) -> List[float]:
    return [round(float(value), 3) for value in _points(results, n).ravel()]


def _body_25(results: Results, n: int) -> List[float]:
    points, index = _points(results, n), {name: k for k, name in enumerate(results.names)}
    rows = []
    for names in BODY_25:
        parts = [points[index[name]] for name in names or ()]
        whole = bool(parts) and all(part[2] > 0 for part in parts)
        middle = np.mean(parts, axis=0) if whole else np.zeros(3)
        if whole:
            middle[2] = min(part[2] for part in parts)
        rows += [round(float(value), 3) for value in middle]
    return rows
