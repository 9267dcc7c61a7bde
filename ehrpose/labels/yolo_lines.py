"""The lines of YOLO-pose's label files: class, box centre and size, keypoints, as shares of the photo."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

import numpy as np

from ehrpose.counted import counted
from ehrpose.datasets.converters.labelled import LabelledPerson, empty_keypoints
from ehrpose.datasets.json_values import shown
from ehrpose.image_io import ImageReadError, read_image
from ehrpose.labels.yolo_data import YoloData

# Shares beyond which ultralytics drops a photo.
_LOW, _HIGH = -0.01, 1.01


class YoloLines:
    """Reads the lines, and counts what is worth a note.

    Args:
        data: The data.yaml.
        columns: Index in the skeleton of each keypoint of the file; None for those left out.
        num_keypoints: Keypoints of the skeleton.
        person_class: Number of the class of people; lines of others are left out.
    """

    def __init__(
        self, data: YoloData, columns: Sequence[Optional[int]], num_keypoints: int, person_class: int
    ):
        self.data = data
        self.columns = columns
        self.num_keypoints = num_keypoints
        self.person_class = person_class
        self._counts: Counter[str] = Counter()
        self._other: set = set()

    def notes(self) -> List[str]:
        """Return what was seen, one line each."""
        c = self._counts
        texts: Dict[str, str] = {
            "origin": f"kpt_shape has two values: {counted(c['origin'], 'keypoint')} at 0 0 taken as not labelled, "
            "though ultralytics reads them as visible",
            "negative": f"kpt_shape has two values: {counted(c['negative'], 'keypoint')} below 0 taken as not labelled",
            "beyond": f"{counted(c['beyond'], 'label file')} with numbers beyond the photo: ultralytics drops these "
            "photos",
            "twice": f"{counted(c['twice'], 'line')} there twice, read once",
            "other": f"{counted(c['other'], 'line')} of other classes left out",
        }
        return [texts[key] for key in texts if c[key]]

    def check_classes(self) -> None:
        """Refuse labels that are all of other classes.

        Raises:
            ValueError: There are lines, but none of the class of people.
        """
        if self._other and not self._counts["people"]:
            name = self.data.classes.get(self.person_class, "people")
            raise ValueError(
                f"expected lines of class {self.person_class} ({name}), got lines of class "
                f"{', '.join(sorted(self._other))} only; choose one with `label`"
            )

    def size_of(self, photo: Path, skip_bad: bool) -> Optional[Tuple[int, int]]:
        """Return the (width, height) of a photo as it is read, upright; None if it cannot be read.

        Raises:
            ImageReadError: It cannot be read, and ``skip_bad`` is False.
        """
        try:
            height, width = read_image(photo).shape[:2]
        except ImageReadError:
            if not skip_bad:
                raise
            return None
        return width, height

    def people(self, path: Path, size: Tuple[int, int]) -> List[LabelledPerson]:
        """Return the people of a label file.

        Args:
            path: The text file.
            size: (width, height) of its photo, px.

        Raises:
            ValueError: A line is invalid; the message names the file and the line.
        """
        people: List[LabelledPerson] = []
        seen = set()
        beyond = False
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            values = self._values(line, f"{path}, line {number}")
            if tuple(values) in seen:
                self._counts["twice"] += 1
                continue
            seen.add(tuple(values))
            if values[0] != self.person_class:
                self._counts["other"] += 1
                self._other.add(f"{values[0]:g}")
                continue
            self._counts["people"] += 1
            people.append(self._person(values, size, f"{path}, line {number}"))
            points = self._points(values)[:, :2]
            beyond |= bool(
                max(points.max(), max(values[1:5])) > _HIGH or min(points.min(), *values[1:5]) < _LOW
            )
        self._counts["beyond"] += beyond
        return people

    def _values(self, line: str, place: str) -> List[float]:
        width = 5 + self.data.num_keypoints * self.data.num_values
        try:
            values = [float(word) for word in line.split()]
        except ValueError:
            values = []
        if len(values) != width or not np.isfinite(values).all():
            raise ValueError(
                f"{place}: expected {width} numbers (class, box, {self.data.num_keypoints} keypoints of "
                f"{self.data.num_values}), got {len(line.split())}: {shown(line)}"
            )
        return values

    def _points(self, values: Sequence[float]) -> np.ndarray:
        return np.reshape(np.asarray(values[5:], np.float64), (-1, self.data.num_values))

    def _person(self, values: Sequence[float], size: Tuple[int, int], place: str) -> LabelledPerson:
        points = self._points(values)
        xy = points[:, :2]
        if self.data.num_values == 2:
            at_origin, below = (xy == 0).all(axis=1), (xy < 0).any(axis=1)
            self._counts["origin"] += int(at_origin.sum())
            self._counts["negative"] += int(below.sum())
            visible = np.where(at_origin | below, 0.0, 2.0)
        else:
            visible = points[:, 2]
            if not np.isin(visible, (0, 1, 2)).all():
                wrong = visible[~np.isin(visible, (0, 1, 2))][0]
                raise ValueError(f"{place}: expected a visibility of 0, 1 or 2, got {wrong:g}")
        keypoints = empty_keypoints(self.num_keypoints)
        for column, point, v in zip(self.columns, (xy * size).round(5), visible):
            if column is not None and v:
                keypoints[column] = (*point, v)
        cx, cy, w, h = values[1:5]
        if w < 0 or h < 0:
            raise ValueError(
                f"{place}: expected a box of a width and height of at least 0, got {w:g} and {h:g}"
            )
        width, height = size
        box = [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]
        return LabelledPerson(keypoints, [round(value, 5) for value in box] if w and h else None)
