"""People as plain lists and JSON files, in MMPose's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ehrpose.files import write_text
from ehrpose.structures import People

if TYPE_CHECKING:
    from ehrpose.file_sets import FileGroup


def people_to_dicts(
    people: People, min_score: float = 0.0, track_ids: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Return each person as a dict: keypoints, keypoint_scores, bbox (a list of one box), bbox_score, track_id.

    Args:
        people: People in pixels of the photo.
        min_score: People below this score are dropped.
        track_ids: (N,) integers; None omits ``track_id``.
    """
    boxes = people.boxes()
    rows = []
    for i in np.flatnonzero(np.asarray(people.scores) >= min_score):
        row = {
            "keypoints": _rounded(people.keypoints[i], 2),
            "keypoint_scores": _rounded(people.keypoint_scores[i], 4),
            "bbox": [_rounded(boxes[i], 2)],
            "bbox_score": round(float(people.scores[i]), 4),
        }
        if track_ids is not None:
            row["track_id"] = int(track_ids[i])
        rows.append(row)
    return rows


def write_predictions(
    predictions: list[dict[str, Any]], path: str | Path, group: FileGroup | None = None
) -> None:
    """Write people to a JSON file, atomically; as part of a group, it appears later."""
    content = json.dumps(predictions)
    if group is None:
        write_text(path, content)
    else:
        group.write(path, content.encode("utf-8"))


def _rounded(values: np.ndarray, digits: int) -> Any:
    return np.round(np.asarray(values, np.float64), digits).tolist()
