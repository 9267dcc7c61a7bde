"""The people of a task of Label Studio."""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, Iterator, List, Mapping, Optional, Tuple
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from ehrpose.counted import counted
from ehrpose.datasets.converters.labelled import LabelledPerson, empty_keypoints
from ehrpose.datasets.json_values import are_finite, is_number, shown
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels.label_set import Reading

_CROWD = ("crowd", "ignore")
_HIDDEN = ("hidden", "occluded", "invisible")
_SHAPES = ("keypointlabels", "rectanglelabels", "polygonlabels")


def is_task(content: Any) -> bool:
    """Return whether an object is a task as Label Studio exports it."""
    return (
        isinstance(content, Mapping)
        and isinstance(content.get("data"), Mapping)
        and any(isinstance(content.get(key), list) for key in ("annotations", "predictions"))
    )


def photo_name(task: Mapping[str, Any]) -> str:
    """Return the photo's name of a task, from its path or address.

    Raises:
        ValueError: The task names none, or several.
    """
    data = task["data"]
    found = [data[key] for key in ("image", "img", "photo") if isinstance(data.get(key), str)]
    found = found or [value for value in data.values() if isinstance(value, str) and "." in value]
    if len(found) != 1:
        raise ValueError(f"expected the photo as data.image, got {shown(dict(data))}")
    parts = urlsplit(found[0])
    name = parse_qs(parts.query).get("d", [unquote(parts.path)])[0]
    name = name.lstrip("/")
    if name.startswith("data/upload/"):  # data/upload/PROJECT/NAME
        return name.rsplit("/", 1)[-1]
    kept = name.split("images/", 1)[-1] if "images/" in name else name.rsplit("/", 1)[-1]
    return kept or name


class Tasks:
    """Reads the people of tasks, and counts what is worth a note.

    Args:
        content: All tasks.
        how: How labels are to be read.
    """

    def __init__(self, content: List[Mapping[str, Any]], how: Reading):
        self.how = how
        self._content = content
        self._counts: Counter[str] = Counter()
        self._notes: List[str] = []

    def note(self, text: str) -> None:
        """Add a note."""
        self._notes.append(text)

    def notes(self) -> List[str]:
        """Return what was seen, one line each."""
        texts = {
            "several": "tasks with several annotations, of which the first is taken",
            "predicted": "tasks without annotations, of which the predictions are taken",
            "shapes": "shapes left out that are not keypoints, rectangles or polygons",
            "alone": "photos without rectangles, whose keypoints are one person",
        }
        told = [f"{count} x {texts[key]}" for key, count in self._counts.items() if count]
        return [*self._notes, *told]

    def labels(self) -> Iterator[str]:
        """Yield the label of every keypoint of the annotations, or of predictions where there are none."""
        for task in self._content:
            for shape in self._result(task)[0]:
                if shape.get("type") == "keypointlabels":
                    yield _label(shape)

    def _result(self, task: Mapping[str, Any], count: bool = False) -> Tuple[List[Mapping[str, Any]], bool]:
        """Return the shapes of a task, and whether they are predicted."""
        done = [
            a for a in task.get("annotations") or [] if isinstance(a, Mapping) and not a.get("was_cancelled")
        ]
        predicted = not done
        chosen = done or [p for p in task.get("predictions") or [] if isinstance(p, Mapping)]
        if not chosen:
            return [], False
        if count:
            self._counts["several"] += len(done) > 1
            self._counts["predicted"] += predicted
        result = chosen[0].get("result")
        if not isinstance(result, list) or not all(isinstance(shape, Mapping) for shape in result):
            raise ValueError(f"expected a list of objects as 'result', got {shown(result)}")
        return result, predicted

    def people(
        self, task: Mapping[str, Any], meta: KeypointMeta
    ) -> Tuple[List[LabelledPerson], Optional[Tuple[int, int]]]:
        """Return the people of a task, and the (width, height) of its photo, px; None without shapes.

        Raises:
            ValueError: A shape is invalid, or does not say whose it is.
        """
        result, _ = self._result(task, count=True)
        self._counts["shapes"] += sum(s.get("type") not in (*_SHAPES, "choices", "relation") for s in result)
        shapes = [shape for shape in result if shape.get("type") in _SHAPES]
        shapes = [shape for shape in shapes if _label(shape) not in self.how.ignore]
        sizes = {_size(shape) for shape in shapes}
        if len(sizes) > 1:
            raise ValueError(f"expected one original_width and original_height, got {sorted(sizes)}")
        if not shapes:
            return [], None
        (size,) = sizes
        hidden = {shape.get("id") for shape in result if _is_hidden(shape)}
        people = []
        for members in self._groups(shapes):
            people.append(self._person(members, size, hidden, meta))
        return people, size

    def _groups(self, shapes: List[Mapping[str, Any]]) -> List[List[Mapping[str, Any]]]:
        """Return the shapes of each person: a rectangle and what has it as parent."""
        crowds = [[shape] for shape in shapes if _label(shape) in _CROWD]
        own = [shape for shape in shapes if _label(shape) not in _CROWD]
        heads = {
            s.get("id"): [s] for s in own if s["type"] == "rectanglelabels" and s.get("parentID") is None
        }
        loose: List[Mapping[str, Any]] = []
        for shape in own:
            if shape.get("id") in heads and shape is heads[shape.get("id")][0]:
                continue
            (heads.get(shape.get("parentID")) or loose).append(shape)
        outlines = [shape for shape in loose if shape["type"] == "polygonlabels" and not heads]
        if outlines and len(outlines) < 2 and not heads:
            return [*crowds, loose]
        if not loose:
            return [*crowds, *heads.values()]
        if len(heads) > 1:
            raise ValueError(
                f"{counted(len(loose), 'shape')}, such as {_label(loose[0])!r}, without the rectangle of a person as "
                f"parentID, in a photo of {len(heads)} people; put each into its person's rectangle in Label Studio"
            )
        if heads:
            return [*crowds, [*next(iter(heads.values())), *loose]]
        self._counts["alone"] += 1
        return [*crowds, loose]

    def _person(
        self, shapes: List[Mapping[str, Any]], size: Tuple[int, int], hidden: set, meta: KeypointMeta
    ) -> LabelledPerson:
        keypoints, box, score, polygons = empty_keypoints(meta.num_keypoints), None, None, []
        for shape in shapes:
            value = shape["value"]
            if shape["type"] == "keypointlabels":
                k = self.how.index_of(_label(shape), meta)
                if k is None:
                    continue
                if keypoints[k, 2]:
                    raise ValueError(
                        f"two points {meta.names[k]!r} of one person: give each person a rectangle"
                    )
                x, y = _percent(value, ("x", "y"), size)
                keypoints[k] = (x, y, 1 if shape.get("id") in hidden else 2)
            elif shape["type"] == "rectanglelabels":
                box = _box(value, size)
                score = float(shape["score"]) if is_number(shape.get("score")) else None
            else:
                polygons.append(_polygon(value, size))
        return LabelledPerson(keypoints, box, polygons, _label(shapes[0]) in _CROWD, score=score)


def _label(shape: Mapping[str, Any]) -> str:
    value = shape.get("value")
    labels = value.get(shape.get("type")) if isinstance(value, Mapping) else None
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
        raise ValueError(f"shape {shown(shape.get('id'))}: expected one label, got {shown(labels)}")
    return labels[0]


def _is_hidden(shape: Mapping[str, Any]) -> bool:
    value = shape.get("value")
    choices = value.get("choices") if isinstance(value, Mapping) and shape.get("type") == "choices" else None
    return isinstance(choices, list) and any(choice in _HIDDEN for choice in choices)


def _size(shape: Mapping[str, Any]) -> Tuple[int, int]:
    sides = [shape.get("original_width"), shape.get("original_height")]
    if not all(type(side) is int and side > 0 for side in sides):
        raise ValueError(f"expected original_width and original_height in px, got {shown(sides)}")
    if shape.get("image_rotation") not in (None, 0):
        raise ValueError(
            f"expected image_rotation 0, got {shown(shape['image_rotation'])}: turn the photo back in Label Studio, or "
            f"save it turned"
        )
    return int(sides[0] or 0), int(sides[1] or 0)


def _percent(value: Mapping[str, Any], keys: Tuple[str, ...], size: Tuple[int, int]) -> List[float]:
    """Return values in percent as px."""
    numbers: List[Any] = [value.get(key) for key in keys]
    if not all(is_number(number) for number in numbers) or not are_finite(numbers):
        raise ValueError(f"expected {', '.join(keys)} in percent of the photo, got {shown(numbers)}")
    return [round(number / 100 * size[i % 2], 5) for i, number in enumerate(numbers)]


def _box(value: Mapping[str, Any], size: Tuple[int, int]) -> List[float]:
    """Return x, y, width, height, px, of the upright box around a rectangle."""
    x, y, w, h = _percent(value, ("x", "y", "width", "height"), size)
    degrees = value.get("rotation") or 0
    if not is_number(degrees):
        raise ValueError(f"expected degrees as rotation, got {shown(degrees)}")
    if not degrees:
        return [x, y, w, h]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    sides = np.array([[0, 0], [w, 0], [w, h], [0, h]])
    corners = sides @ np.array([[cos, sin], [-sin, cos]]) + [x, y]
    low, high = corners.min(axis=0), corners.max(axis=0)
    return [float(round(v, 5)) for v in (*low, *(high - low))]


def _polygon(value: Mapping[str, Any], size: Tuple[int, int]) -> List[float]:
    points = value.get("points")
    if not isinstance(points, list) or len(points) < 3 or not all(
        isinstance(p, list) and len(p) == 2 and are_finite(p) for p in points
    ):  # fmt: skip
        raise ValueError(f"expected at least 3 points of a polygon, got {shown(points)}")
    return [round(v / 100 * size[i], 5) for p in points for i, v in enumerate(p)]


def percent(values: Dict[str, float], size: Tuple[int, int]) -> Dict[str, float]:
    """Return px as percent of the photo: ``x`` and ``width`` of its width, others of its height."""
    return {k: 100 * float(v) / size[0 if k in ("x", "width") else 1] for k, v in values.items()}
