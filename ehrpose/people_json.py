"""People as plain lists and JSON files, in MMPose's format."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from ehrpose.files import PartialFile, make_parent, write_text
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


class FrameFile:
    """A JSON file with a list of frames, written as they arrive.

    ``close`` moves it into place, ``abort`` removes it.

    Args:
        path: File to write; without frames, none is written.

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
                self._file = self._partial.create().open("w", encoding="utf-8")
            self._file.write(("[" if first else ",\n") + json.dumps(frame))

    def close(self) -> bool:
        """End the list and move the file into place; return whether there were frames."""
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
        """Remove the file."""
        if self._file is None:
            return
        with contextlib.suppress(OSError):  # on a full disk, the final flush fails too
            self._file.close()
        self._file = None
        self._partial.abort()


def _rounded(values: np.ndarray, digits: int) -> Any:
    return np.round(np.asarray(values, np.float64), digits).tolist()
