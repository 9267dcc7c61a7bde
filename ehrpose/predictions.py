"""People as plain lists and json files, in MMPose's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.structures import People


def people_to_dicts(
    people: People, min_score: float = 0.0, track_ids: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """Return each person as a dict: keypoints, keypoint_scores, bbox (a list of one box), bbox_score, track_id.

    Args:
        people: People in pixels of the photo.
        min_score: People below it are left out.
        track_ids: (N,) whole numbers; None leaves out ``track_id``.
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


def write_predictions(predictions: list[dict[str, Any]], path: str | Path) -> None:
    """Write people to a json file, whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    beside.write_text(json.dumps(predictions))
    beside.replace(target)


def _rounded(values: np.ndarray, digits: int) -> Any:
    return np.round(np.asarray(values, np.float64), digits).tolist()
