"""Reading CVAT exports in the format "CVAT for images 1.1" (XML), with skeletons."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, empty_keypoints, upright_box
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.datasets.json_values import are_finite, shown
from ehrpose.keypoint_meta import KeypointMeta

_CROWD = ("crowd", "ignore")


class CvatXml:
    """A "CVAT for images 1.1" export.

    Each skeleton is a person. A point marked ``outside`` is not labelled, one marked ``occluded`` is hidden. A box or
    polygon with the same ``group_id`` belongs to that person: those with the skeleton's label or ``person``, or else
    those of the only label. Without a skeleton in its group, a box or polygon with one of these labels is a person
    without keypoints; others are left out. Labelled ``crowd`` or ``ignore`` it is a region that training ignores. A
    rotated box becomes the upright one around it.

    Attributes:
        notes: What the user should know about the file, one line each.

    Args:
        path: The XML file.
        label: Label of the skeletons, if there are several.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not such an export, or has no skeletons.
    """

    def __init__(self, path: Path, label: str | None = None):
        if not path.is_file():
            raise FileNotFoundError(f"file not found: {path}")
        try:
            self._root = ElementTree.parse(path).getroot()
        except (ElementTree.ParseError, LookupError, ValueError) as error:  # the latter: of its encoding
            raise ValueError(f"{path} is not valid XML: {error}") from error
        if self._root.tag != "annotations" or self._root.find("image") is None:
            hint = (
                " This is a video export: export it as 'CVAT for images 1.1'."
                if self._root.find("track") is not None
                else ""
            )
            raise ValueError(
                f"{path}: expected <annotations> with <image>, as in 'CVAT for images 1.1'.{hint}"
            )
        self.path = path
        self.notes: list[str] = []
        self.label = label or self._only_label()

    def _only_label(self) -> str:
        labels = {s.get("label", "") for s in self._root.iter("skeleton")}
        declared = [n for n, kind, _ in self._labels() if kind == "skeleton"]
        labels = labels or set(declared)
        if len(labels) != 1:
            raise ValueError(
                f"{self.path}: "
                + (
                    f"skeletons have several labels, {sorted(labels)}; choose one with `label`"
                    if labels
                    else "no skeletons found"
                )
            )
        return labels.pop()

    def _labels(self) -> Iterator[tuple[str, str, ElementTree.Element]]:
        for element in self._root.iterfind("meta//labels/label"):
            yield element.findtext("name", ""), element.findtext("type", ""), element

    def keypoints(self) -> dict:
        """Return a keypoint config made from the export's own skeleton."""
        names = [n for n, _, e in self._labels() if e.findtext("parent") == self.label]
        if not names:
            found = (name for skeleton in self._skeletons(self._root) for name in _point_names(skeleton))
            names = list(dict.fromkeys(found))
        if not names:
            raise ValueError(f"{self.path}: no keypoints found for the skeleton {self.label!r}")
        if "" in names or len(set(names)) < len(names):
            raise ValueError(f"{self.path}: expected keypoint names that are all distinct, got {names}")
        return guess_keypoints(self.label, names, self._limbs(names))

    def _limbs(self, names: list[str]) -> list[tuple[str, str]]:
        drawing = next((e.findtext("svg", "") for n, _, e in self._labels() if n == self.label), "")
        try:
            shapes = ElementTree.fromstring(f"<svg>{re.sub('</?svg[^>]*>', '', drawing)}</svg>")
        except ElementTree.ParseError:
            return []  # the drawing is for display only; the labels do not depend on it
        # Nodes are named by label, or numbered in the order of the labels.
        nodes = {c.get("data-node-id"): c.get("data-label-name") for c in shapes.iter("circle")}
        limbs = []
        for line in shapes.iter("line"):
            ends = [_node(line.get(f"data-node-{end}", ""), nodes, names) for end in ("from", "to")]
            if None not in ends and ends[0] != ends[1]:
                limbs.append((str(ends[0]), str(ends[1])))
        return limbs

    def _skeletons(self, element: ElementTree.Element) -> Iterator[ElementTree.Element]:
        return (s for s in element.iter("skeleton") if s.get("label") == self.label)

    def read(
        self,
        meta: KeypointMeta,
        search: PhotoSearch,
        rename: Mapping[str, str] | None = None,
        ignore: Collection[str] = (),
    ) -> list[LabelledPhoto]:
        """Return the photos and their people.

        Args:
            meta: The skeleton.
            search: Finds the photos.
            rename: Label in the file to keypoint name, where they differ.
            ignore: Labels that are left out.

        Raises:
            ValueError: A label is unknown or a number is invalid; the message names the photo.
        """
        photos = []
        left_out: Counter[str] = Counter()
        reader = _Reader(meta, rename or {}, set(ignore), {self.label.casefold(), "person"})
        for image in self._root.iterfind("image"):
            name = image.get("name", "")
            try:
                people = _people(image, list(self._skeletons(image)), reader, left_out)
                photo = LabelledPhoto(
                    search.find(name), search.name(name), _size(image), people, f"{self.path}: {name}"
                )
            except ValueError as error:
                raise ValueError(f"{self.path}: photo {name!r}: {error}") from error
            photos.append(photo)
        if left_out:
            found = ", ".join(f"{count} x {label!r}" for label, count in left_out.most_common())
            self.notes.append(
                f"{self.path}: boxes and polygons of other labels than {self.label!r} are left out: {found}"
            )
        return photos


class _Reader(NamedTuple):
    """Skeleton, label to keypoint name, labels that are left out, and labels of people in lower case."""

    meta: KeypointMeta
    rename: Mapping[str, str]
    ignore: set[str]
    people: set[str]


def _size(image: ElementTree.Element) -> tuple[int, int] | None:
    """Return the width and height, px; None if the file does not say them."""
    sides = [image.get("width"), image.get("height")]
    if not all(sides):
        return None
    for side in sides:
        if not re.fullmatch("[0-9]{1,9}", str(side)) or not int(str(side)):
            raise ValueError(f"expected width and height as whole numbers of px, got {side!r}")
    return int(str(sides[0])), int(str(sides[1]))


def _node(number: str, nodes: Mapping[str | None, str | None], names: list[str]) -> str | None:
    name = nodes.get(number)
    if name in names:
        return name
    place = int(number) - 1 if number.isdecimal() else -1
    return names[place] if name is None and 0 <= place < len(names) else None


def _point_names(skeleton: ElementTree.Element) -> list[str]:
    return [point.get("label", "") for point in skeleton.iterfind("points")]


class _Shape(NamedTuple):
    """A box or polygon: its label, x, y, width, height or x0, y0, x1, y1, ..."""

    tag: str
    label: str
    numbers: list[float]


def _people(
    image: ElementTree.Element,
    skeletons: list[ElementTree.Element],
    reader: _Reader,
    left_out: Counter[str],
) -> list[LabelledPerson]:
    groups: dict[str, list[_Shape]] = {}
    people = []
    none = empty_keypoints(reader.meta.num_keypoints)
    for element in (*image.iterfind("box"), *image.iterfind("polygon")):
        shape = _Shape(element.tag, element.get("label", ""), _outline(element))
        group = element.get("group_id")
        if shape.label in reader.ignore:
            continue
        if shape.label in _CROWD:
            people.append(_with_shapes(none, [shape], crowd=True))
        elif group is not None:
            groups.setdefault(group, []).append(shape)
        else:
            groups[f"alone {len(groups)}"] = [shape]
    for skeleton in skeletons:
        keypoints = _keypoints(skeleton, reader)
        people.append(
            _with_shapes(keypoints, _own(groups.pop(skeleton.get("group_id", ""), []), reader, left_out))
        )
    for shapes in groups.values():
        own = [shape for shape in shapes if shape.label.casefold() in reader.people]
        left_out.update(shape.label for shape in shapes if shape not in own)
        if own:
            people.append(_with_shapes(none, own))
    return people


def _own(shapes: list[_Shape], reader: _Reader, left_out: Counter[str]) -> list[_Shape]:
    """Return the shapes in a skeleton's group that are the person's: by label, or else if there is only one label."""
    own = []
    for tag in ("box", "polygon"):
        same = [shape for shape in shapes if shape.tag == tag]
        named = [shape for shape in same if shape.label.casefold() in reader.people]
        if not named and len({shape.label for shape in same}) == 1:
            named = same
        own += named
    left_out.update(shape.label for shape in shapes if shape not in own)
    return own


def _with_shapes(keypoints: np.ndarray, shapes: list[_Shape], crowd: bool = False) -> LabelledPerson:
    boxes = [shape.numbers for shape in shapes if shape.tag == "box"]
    polygons = [shape.numbers for shape in shapes if shape.tag == "polygon"]
    return LabelledPerson(keypoints, boxes[0] if boxes else None, polygons, crowd)


def _keypoints(skeleton: ElementTree.Element, reader: _Reader) -> np.ndarray:
    meta, rename = reader.meta, reader.rename
    keypoints = empty_keypoints(meta.num_keypoints)
    for point in skeleton.iterfind("points"):
        label = point.get("label", "")
        if label in reader.ignore or point.get("outside") == "1":
            continue
        name = rename.get(label, label)
        if name not in meta.names:
            raise ValueError(
                f"point with unknown label {label!r}; keypoints of {meta.dataset_name!r}: "
                f"{list(meta.names)}. Use `rename` {label}=NAME or `ignore` {label}"
            )
        x, y = _numbers(point.get("points", ""), 2)
        if keypoints[meta.names.index(name), 2]:
            raise ValueError(f"two points are {name!r}, expected one per skeleton: remove or rename one")
        keypoints[meta.names.index(name)] = (x, y, 1 if point.get("occluded") == "1" else 2)
    return keypoints


def _outline(shape: ElementTree.Element) -> list[float]:
    """Return x, y, width, height of a box, upright, or x0, y0, x1, y1, ... of a polygon."""
    if shape.tag == "polygon":
        return _numbers(shape.get("points", ""))
    corners = ",".join(shape.get(key, "") for key in ("xtl", "ytl", "xbr", "ybr"))
    x0, y0, x1, y1 = _numbers(corners, 4)
    (degrees,) = _numbers(shape.get("rotation", "0"), 1)
    return upright_box([min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)], degrees)


def _numbers(text: str, count: int | None = None) -> list[float]:
    try:
        numbers = [float(part) for part in text.replace(";", ",").split(",")]
    except ValueError:
        numbers = []
    fits = len(numbers) == count if count else len(numbers) >= 6 and len(numbers) % 2 == 0
    if not fits or not are_finite(numbers):
        raise ValueError(f"expected {count or 'at least 6'} finite numbers, got {shown(text)}")
    return numbers
