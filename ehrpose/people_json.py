"""People as plain lists and json files, in MMPose's form."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ehrpose.files import PartialFile, make_parent, write_text
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
    # One for each photo of a folder: a disk takes longer to flush it than a small network to find the people.
    write_text(path, json.dumps(predictions), durable=False)


class FrameFile:
    """A json file with a list of frames, written as they come.

    ``close`` puts it in its place, ``abort`` leaves nothing.

    Args:
        path: File to write. No frames, no file.

    Raises:
        NotADirectoryError, IsADirectoryError, PermissionError: ``path`` cannot be written to.
        WriteError: The disk is full or fails.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._partial = PartialFile(path)
        self._file: TextIO | None = None

    def add(self, frame: dict[str, Any]) -> None:
        """Write one frame."""
        first = self._file is None
        with self._partial.explained():
            if self._file is None:
                make_parent(self.path)
                self._file = self._partial.partial.open("w", encoding="utf-8")
            self._file.write(("[" if first else ",\n") + json.dumps(frame))

    def close(self) -> bool:
        """End the list and put the file in its place; return whether there were frames."""
        if self._file is None:
            return False
        try:
            with self._partial.explained():
                self._file.write("]\n")
                self._file.close()
        except OSError:
            self.abort()
            raise
        self._file = None
        self._partial.commit()
        return True

    def abort(self) -> None:
        """Leave no file."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # a full disk takes the last words neither
            self._file.close()
        self._file = None
        self._partial.abort()


def _rounded(values: np.ndarray, digits: int) -> Any:
    return np.round(np.asarray(values, np.float64), digits).tolist()
