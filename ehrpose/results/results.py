"""The people of one photo or frame."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np

from ehrpose.counted import counted
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.people_json import people_to_dicts
from ehrpose.structures import People

__all__ = ["Person", "Results"]

# Columns of a table, see docs/results.md.
COLUMNS = ("frame", "file", "time", "person", "id", "person_score", "keypoint", "x", "y", "score", "filled")
# COCO's category of people.
_COCO_PERSON = 1


@dataclass(frozen=True)
class Person:
    """One person.

    Attributes:
        keypoints: Name to (x, y, score), px of the photo; those that were not found are missing.
        box: x0, y0, x1, y1 in px, around the keypoints found.
        score: Score of the person.
        id: Track id; None without a tracker, -1 for a person who is not tracked yet.
    """

    keypoints: Dict[str, Tuple[float, float, float]]
    box: Tuple[float, float, float, float]
    score: float
    id: Optional[int] = None


@dataclass(frozen=True, eq=False)  # arrays are not compared: each object equals itself
class Results:
    """The people of one photo or frame. It holds arrays and names only, so it can be kept, pickled and sent.

    Iterating yields each ``Person``, best first; ``len`` is their number.

    Attributes:
        people: Their arrays, px of the photo.
        meta: The skeleton: names, limbs, colours.
        size_wh: Width and height of the photo, px.
        file: The photo or video; None for arrays and cameras.
        frame: Index of the photo, or of the frame in the video, from 0.
        time: Seconds since the start of the video; None for photos.
        ids: (N,) track ids, -1 for people not tracked yet; None without a tracker.
        image: (H, W, 3) uint8 BGR, only if it was kept (``with_image``).
    """

    people: People
    meta: KeypointMeta
    size_wh: Tuple[int, int]
    file: Optional[str] = None
    frame: int = 0
    time: Optional[float] = None
    ids: Optional[np.ndarray] = None
    image: Optional[np.ndarray] = None

    def __len__(self) -> int:
        return len(self.people)

    def __repr__(self) -> str:
        where, (width, height) = self.file or f"frame {self.frame}", self.size_wh
        return f"Results({where}: {counted(len(self), 'person', 'people')}, {width} x {height} px)"

    def __iter__(self) -> Iterator[Person]:
        return (self._person(index) for index in range(len(self)))

    @property
    def names(self) -> Tuple[str, ...]:
        """Names of the K keypoints."""
        return self.meta.names

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) float32, x0, y0, x1, y1 around each person's keypoints, px."""
        return self.people.boxes()

    @property
    def scores(self) -> np.ndarray:
        """(N,) float32, score of each person."""
        return self.people.scores

    @property
    def keypoints(self) -> np.ndarray:
        """(N, K, 2) float32, x and y, px."""
        return self.people.keypoints

    @property
    def keypoint_scores(self) -> np.ndarray:
        """(N, K) float32, 0 where a keypoint was not found."""
        return self.people.keypoint_scores

    def with_image(self, image: np.ndarray) -> Results:
        """Return the same results with the photo, (H, W, 3) uint8 BGR, for ``plot`` without a file."""
        return replace(self, image=image)

    def plot(self, image: Optional[np.ndarray] = None, **options: Any) -> np.ndarray:
        """Return the photo with the people drawn, (H, W, 3) uint8 BGR.

        Args:
            image: The photo; None takes the kept one, or reads the file.
            **options: ``draw_bbox=True`` and ``show_score=True`` as in ``DrawOptions``, and the options of
                ``ehrpose.visualization.drawing.draw_people``, such as ``kpt_thr`` and ``style``.

        Raises:
            ValueError: There is no photo to draw on.
            ImageReadError: The file cannot be read.
        """
        from ehrpose.visualization.drawing import draw_people

        options.setdefault("ids", self.ids)
        if options.pop("draw_bbox", False):
            options["bboxes"] = self.boxes
        if options.pop("show_score", False):
            options["person_scores"] = self.scores
        return draw_people(
            self._photo(image), self.people.keypoints, self.people.keypoint_scores, self.meta, **options
        )

    def show(self, image: Optional[np.ndarray] = None, **options: Any) -> None:
        """Show the drawn photo in a window until a key is pressed; arguments as for ``plot``.

        Raises:
            ValueError: There is no photo, or no screen.
        """
        from ehrpose.media.window import check_window, show_picture

        check_window()
        show_picture(self.plot(image, **options), None)

    def save(self, path: Union[str, Path], image: Optional[np.ndarray] = None, **options: Any) -> Path:
        """Write the drawn photo, or with the suffix ``.json`` the people; return the path.

        Raises:
            ValueError: There is no photo, or the suffix is not that of a picture.
        """
        from ehrpose.files import write_text
        from ehrpose.visualization.drawing import write_picture

        path = Path(path)
        if path.suffix.lower() == ".json":
            write_text(path, self.to_json())
        else:
            write_picture(path, self.plot(image, **options))
        return path

    def to_dict(self) -> Dict[str, Any]:
        """Return plain numbers, lists and names: file, frame, time, width, height, names and people."""
        width, height = self.size_wh
        people = people_to_dicts(self.people, track_ids=self.ids)
        return {
            "file": self.file, "frame": self.frame, "time": self.time, "width": width, "height": height,
            "keypoint_names": list(self.names), "people": people,
        }  # fmt: skip

    def to_json(self) -> str:
        """Return ``to_dict`` as JSON."""
        return json.dumps(self.to_dict())

    def to_rows(self) -> List[Dict[str, Any]]:
        """Return a row for each keypoint found, with the keys ``COLUMNS``: see docs/results.md."""
        rows = []
        filled = self.people.filled
        for n in range(len(self)):
            shared = {
                "frame": self.frame, "file": self.file, "time": self.time, "person": n, "id": self._id(n),
                "person_score": round(float(self.people.scores[n]), 4),
            }  # fmt: skip
            for k in np.flatnonzero(self.people.keypoint_scores[n] > 0):
                x, y = (round(float(value), 2) for value in self.people.keypoints[n, k])
                score = round(float(self.people.keypoint_scores[n, k]), 4)
                known = None if filled is None else bool(filled[n, k])
                rows.append(
                    {**shared, "keypoint": self.names[k], "x": x, "y": y, "score": score, "filled": known}
                )
        return rows

    def to_df(self) -> Any:
        """Return ``to_rows`` as a DataFrame of pandas, or of polars where only that is installed.

        Raises:
            ImportError: Neither is installed.
        """
        rows = self.to_rows()
        columns = {name: [row[name] for row in rows] for name in COLUMNS}
        for package in ("pandas", "polars"):
            try:
                return __import__(package).DataFrame(columns)
            except ImportError:
                continue
        raise ImportError("to_df needs pandas or polars: pip install pandas")

    def to_coco(self, image_id: Any = None, category_id: int = _COCO_PERSON) -> List[Dict[str, Any]]:
        """Return COCO's results of keypoint detection, a dict for each person.

        Args:
            image_id: Id of the photo; None takes the number in the file's name as COCO has it, else the frame's index.
            category_id: Category of the people.
        """
        image_id = self.coco_id() if image_id is None else image_id
        rows = []
        for n in range(len(self)):
            points = np.column_stack([self.people.keypoints[n], self.people.keypoint_scores[n]])
            points[self.people.keypoint_scores[n] <= 0] = 0
            x0, y0, x1, y1 = (float(value) for value in self.boxes[n])
            rows.append(
                {
                    "image_id": image_id, "category_id": category_id,
                    "keypoints": np.round(points.astype(np.float64), 3).ravel().tolist(),
                    "score": round(float(self.people.scores[n]), 5),
                    "bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
                }
            )  # fmt: skip
        return rows

    def coco_id(self) -> int:
        """Return the number that is the file's name (``000000000139.jpg``), else the index of the frame."""
        stem = Path(self.file).stem if self.file and self.time is None else ""
        return int(stem) if stem.isdecimal() else self.frame

    def to_motion(self) -> List[Dict[str, Any]]:
        """Return a row for each person: lengths of the segments, angles of the joints; see docs/results.md."""
        from ehrpose.results.motion import motion_rows

        return motion_rows(self)

    def to_openpose(self) -> Dict[str, Any]:
        """Return OpenPose's JSON: BODY_25 for a skeleton with COCO's 17 names, else the skeleton's own order."""
        from ehrpose.results.openpose import openpose_content

        return openpose_content(self)

    def to_supervision(self) -> Any:
        """Return ``supervision.KeyPoints``; see ``ehrpose.inferencers.adapters.to_supervision``.

        Raises:
            ImportError: supervision is not installed.
        """
        from ehrpose.results.supervision_keypoints import to_supervision

        return to_supervision(self.people)

    def _person(self, n: int) -> Person:
        found = np.flatnonzero(self.people.keypoint_scores[n] > 0)
        xy, scores = self.people.keypoints[n], self.people.keypoint_scores[n]
        points = {self.names[k]: (float(xy[k, 0]), float(xy[k, 1]), float(scores[k])) for k in found}
        x0, y0, x1, y1 = (float(value) for value in self.boxes[n])
        return Person(points, (x0, y0, x1, y1), float(self.people.scores[n]), self._id(n))

    def _id(self, n: int) -> Optional[int]:
        return None if self.ids is None else int(self.ids[n])

    def _photo(self, image: Optional[np.ndarray]) -> np.ndarray:
        if image is not None:
            return image
        if self.image is not None:
            return self.image
        from ehrpose.media.video import VIDEO_SUFFIXES

        if self.file is None or Path(self.file).suffix.lower() in VIDEO_SUFFIXES:
            raise ValueError(
                f"{self!r} has no photo to draw on: pass the image, or keep it with with_image(image)"
            )
        from ehrpose.image_io import read_image

        return read_image(self.file)


def as_ids(ids: Union[Sequence[int], np.ndarray, None]) -> Optional[np.ndarray]:
    """Return track ids as an array of their own, (N,) int64."""
    return None if ids is None else np.array(ids, np.int64)
