"""CVAT's "CVAT for images 1.1": one XML file with skeletons, boxes and polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union
from xml.etree import ElementTree

import numpy as np

from ehrpose.datasets.converters.cvat import CvatXml
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, check_unique
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels.label_format import LabelFormat, labelled_keypoints
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.labels.layout import average_layout
from ehrpose.labels.new_labels import NewLabels
from ehrpose.registry import LABEL_FORMATS

_SKELETON, _BOX, _OUTLINE, _CROWD = "person", "person_box", "person_outline", "crowd"


@LABEL_FORMATS.register_module(name="cvat")
class CvatLabels(LabelFormat):
    """An ``annotations.xml`` with its photos, and the labels to create the task with."""

    title = "CVAT for images 1.1"
    docs = (
        "`annotations.xml` with skeletons, `images/`, and `cvat_labels.json`: paste it as raw labels of a new task, "
        "upload the photos, then upload the XML as annotations."
    )
    holds = frozenset(
        (
            "hidden keypoints",
            "boxes",
            "outlines",
            "crowds",
            "people without keypoints",
            "order of keypoints",
            "limbs",
        )
    )

    def check(self, path: Union[str, Path]) -> Optional[str]:
        file = _find(Path(path))
        if file is None:
            return "expected an XML file, or a folder with annotations.xml"
        try:
            CvatXml(file, label="any")
        except ValueError as error:
            return str(error)
        return None

    def _read(self, path: Path, how: Reading) -> LabelSet:
        file = _find(path)
        assert file is not None  # check() found it
        source = CvatXml(file, how.label)
        meta = how.meta_or(source.keypoints)
        folder = path if path.is_dir() else file.parent
        photos = source.read(meta, how.search(folder), how.rename, how.ignore)
        check_unique(photos)
        return LabelSet(meta, {"train": photos}, list(source.notes))

    def _write(self, labels: LabelSet, new: NewLabels) -> None:
        layout = average_layout(labels)
        root = ElementTree.Element("annotations")
        _add(root, "version", "1.1")
        _add_labels(_new(_new(_new(root, "meta"), "task"), "labels"), new.meta, layout)
        number = 0
        for split, photos in labels.splits.items():
            for photo in photos:
                folder = split if len(labels.splits) > 1 else ""
                size = new.place(photo, f"images/{folder}" if folder else "images")
                if size is not None:
                    name = f"{folder}/{photo.name}" if folder else photo.name
                    _add_photo(root, (number, name), photo, size, new)
                    number += 1
        text = ElementTree.tostring(root, "unicode")
        new.text("annotations.xml", f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
        new.json("cvat_labels.json", _raw_labels(new.meta, layout))


def _find(path: Path) -> Optional[Path]:
    if path.is_file():
        return path if path.suffix.lower() == ".xml" else None
    found = sorted(path.rglob("annotations.xml")) or sorted(path.glob("*.xml"))
    return found[0] if found else None


def _new(parent: ElementTree.Element, tag: str, **values: Any) -> ElementTree.Element:
    return ElementTree.SubElement(parent, tag, {key: str(value) for key, value in values.items()})


def _add(parent: ElementTree.Element, tag: str, text: str) -> None:
    _new(parent, tag).text = text


def _add_labels(labels: ElementTree.Element, meta: KeypointMeta, layout: np.ndarray) -> None:
    kinds = [(_SKELETON, "skeleton", ""), *((name, "points", _SKELETON) for name in meta.names)]
    kinds += [(_BOX, "rectangle", ""), (_OUTLINE, "polygon", ""), (_CROWD, "any", "")]
    for name, kind, parent in kinds:
        label = _new(labels, "label")
        _add(label, "name", name)
        _add(label, "type", kind)
        _new(label, "attributes")
        if kind == "skeleton":
            _add(label, "svg", _drawing(meta, layout))
        if parent:
            _add(label, "parent", parent)


def _drawing(meta: KeypointMeta, layout: np.ndarray) -> str:
    """Return the skeleton as CVAT draws it, in a square of 100 x 100."""
    root = ElementTree.Element("svg")
    for i, j in meta.skeleton:
        (x1, y1), (x2, y2) = layout[i], layout[j]
        ends = {"x1": x1, "y1": y1, "x2": x2, "y2": y2}
        drawn = {key: f"{value:.2f}" for key, value in ends.items()}
        nodes = {"data-type": "edge", "data-node-from": i + 1, "stroke": "black", "data-node-to": j + 1}
        _new(root, "line", **drawn, **nodes, **{"stroke-width": "0.5"})
    for k, (name, (x, y)) in enumerate(zip(meta.names, layout), 1):
        place = {"r": "0.75", "cx": f"{x:.2f}", "cy": f"{y:.2f}", "stroke": "black", "fill": "#b3b3b3"}
        node = {"data-type": "element node", "data-element-id": k, "data-node-id": k, "data-label-name": name}
        _new(root, "circle", **place, **node)
    return "".join(ElementTree.tostring(shape, "unicode") for shape in root)


def _raw_labels(meta: KeypointMeta, layout: np.ndarray) -> List[Dict[str, Any]]:
    points = [{"name": name, "type": "points", "attributes": []} for name in meta.names]
    skeleton = {
        "name": _SKELETON,
        "type": "skeleton",
        "attributes": [],
        "sublabels": points,
        "svg": _drawing(meta, layout),
    }
    others = [(_BOX, "rectangle"), (_OUTLINE, "polygon"), (_CROWD, "any")]
    return [skeleton, *({"name": name, "type": kind, "attributes": []} for name, kind in others)]


def _add_photo(
    root: ElementTree.Element,
    named: Tuple[int, str],
    photo: LabelledPhoto,
    size: Tuple[int, int],
    new: NewLabels,
) -> None:
    number, name = named
    image = _new(root, "image", id=number, name=name, width=size[0], height=size[1])
    for group, person in enumerate(photo.people, 1):
        if person.crowd:
            new.lose_of_crowd(person)
            _add_shapes(image, person, _CROWD, _CROWD, 0)
        elif new.box(person, size) is None:
            new.lose("people without keypoints, box or outline")
        else:
            _add_skeleton(image, person, group, new.meta, size)
            _add_shapes(image, person, _BOX, _OUTLINE, group)


def _add_skeleton(
    image: ElementTree.Element, person: LabelledPerson, group: int, meta: KeypointMeta, size: Tuple[int, int]
) -> None:
    skeleton = _new(image, "skeleton", label=_SKELETON, source="manual", z_order=0, group_id=group)
    found = {k: (x, y, v) for k, x, y, v in labelled_keypoints(person)}
    x, y, w, h = NewLabels.box(person, size) or (0.0, 0.0, 0.0, 0.0)
    for k, name in enumerate(meta.names):
        px, py, v = found.get(k, (x + w / 2, y + h / 2, 0))
        state = {"outside": int(v == 0), "occluded": int(v == 1)}
        _new(skeleton, "points", label=name, source="manual", **state, points=f"{_text(px)},{_text(py)}")


def _add_shapes(
    image: ElementTree.Element, person: LabelledPerson, box: str, outline: str, group: int
) -> None:
    own: Dict[str, Any] = {"source": "manual", "occluded": 0, "z_order": 0}
    if group:
        own["group_id"] = group
    if person.box is not None and not (person.crowd and person.polygons):
        x, y, w, h = map(float, person.box)
        corners = {"xtl": x, "ytl": y, "xbr": x + w, "ybr": y + h}
        _new(image, "box", label=box, **own, **{key: _text(value) for key, value in corners.items()})
    for polygon in person.polygons:
        points = ";".join(f"{_text(px)},{_text(py)}" for px, py in zip(polygon[0::2], polygon[1::2]))
        _new(image, "polygon", label=outline, **own, points=points)


def _text(value: float) -> str:
    return repr(round(float(value), 4))
