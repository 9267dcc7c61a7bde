"""Reading CVAT exports in the format "CVAT for images 1.1" (XML), with skeletons."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, empty_keypoints
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.keypoint_meta import KeypointMeta


class CvatXml:
    """A "CVAT for images 1.1" export.

    Each skeleton is a person. A point marked ``outside`` is not labelled, one marked ``occluded`` is hidden. A box or
    polygon with the same ``group_id`` belongs to that person; without a group it is a person without keypoints;
    labelled ``crowd`` or ``ignore`` it is a region that training ignores.

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
        except ElementTree.ParseError as error:
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
            for skeleton in self._skeletons(self._root):
                names += [n for n in _point_names(skeleton) if n not in names]
        if not names:
            raise ValueError(f"{self.path}: no keypoints found for the skeleton {self.label!r}")
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
        for image in self._root.iterfind("image"):
            name = image.get("name", "")
            try:
                people = _people(image, list(self._skeletons(image)), meta, rename or {}, set(ignore))
                size = (int(image.get("width", "0")), int(image.get("height", "0")))
            except ValueError as error:
                raise ValueError(f"{self.path}: photo {name!r}: {error}") from error
            photos.append(
                LabelledPhoto(search.find(name), search.name(name), size, people, f"{self.path}: {name}")
            )
        return photos


def _node(number: str, nodes: Mapping[str | None, str | None], names: list[str]) -> str | None:
    name = nodes.get(number)
    if name in names:
        return name
    place = int(number) - 1 if number.isdigit() else -1
    return names[place] if name is None and 0 <= place < len(names) else None


def _point_names(skeleton: ElementTree.Element) -> list[str]:
    return [point.get("label", "") for point in skeleton.iterfind("points")]


def _people(
    image: ElementTree.Element,
    skeletons: list[ElementTree.Element],
    meta: KeypointMeta,
    rename: Mapping[str, str],
    ignore: set[str],
) -> list[LabelledPerson]:
    shapes: dict[str, dict[str, list]] = {}
    people = []
    for shape in (*image.iterfind("box"), *image.iterfind("polygon")):
        if shape.get("label") in ignore:
            continue
        part = _box(shape) if shape.tag == "box" else _polygon(shape)
        group = shape.get("group_id")
        if shape.get("label") in ("crowd", "ignore") or group is None:
            crowd = shape.get("label") in ("crowd", "ignore")
            people.append(_shape_alone(shape.tag, part, meta, crowd))
        else:
            shapes.setdefault(group, {}).setdefault(shape.tag, []).append(part)
    for skeleton in skeletons:
        own = shapes.pop(skeleton.get("group_id", ""), {})
        box = own.get("box", [None])[0]
        people.append(LabelledPerson(_keypoints(skeleton, meta, rename, ignore), box, own.get("polygon", ())))
    for own in shapes.values():
        people.append(
            LabelledPerson(
                empty_keypoints(meta.num_keypoints), own.get("box", [None])[0], own.get("polygon", ())
            )
        )
    return people


def _shape_alone(tag: str, part: list[float], meta: KeypointMeta, crowd: bool) -> LabelledPerson:
    box, polygons = (part, []) if tag == "box" else (None, [part])
    return LabelledPerson(empty_keypoints(meta.num_keypoints), box, polygons, crowd)


def _keypoints(
    skeleton: ElementTree.Element, meta: KeypointMeta, rename: Mapping[str, str], ignore: set[str]
) -> np.ndarray:
    keypoints = empty_keypoints(meta.num_keypoints)
    for point in skeleton.iterfind("points"):
        label = point.get("label", "")
        if label in ignore or point.get("outside") == "1":
            continue
        name = rename.get(label, label)
        if name not in meta.names:
            raise ValueError(
                f"point with unknown label {label!r}; keypoints of {meta.dataset_name!r}: "
                f"{list(meta.names)}. Use `rename` {label}=NAME or `ignore` {label}"
            )
        x, y = _numbers(point.get("points", ""), 2)
        keypoints[meta.names.index(name)] = (x, y, 1 if point.get("occluded") == "1" else 2)
    return keypoints


def _box(shape: ElementTree.Element) -> list[float]:
    corners = ",".join(shape.get(key, "") for key in ("xtl", "ytl", "xbr", "ybr"))
    x0, y0, x1, y1 = _numbers(corners, 4)
    return [min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)]


def _polygon(shape: ElementTree.Element) -> list[float]:
    return _numbers(shape.get("points", ""))


def _numbers(text: str, count: int | None = None) -> list[float]:
    try:
        numbers = [float(part) for part in text.replace(";", ",").split(",")]
    except ValueError:
        numbers = []
    fits = len(numbers) == count if count else len(numbers) >= 6 and len(numbers) % 2 == 0
    if not fits or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count or 'at least 6'} finite numbers, got {text!r}")
    return numbers
