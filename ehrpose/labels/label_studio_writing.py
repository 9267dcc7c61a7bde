"""Tasks for Label Studio: annotations of labelled people, predictions of those with a score."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Dict, List, Optional, Tuple
from urllib.parse import quote
from xml.etree import ElementTree

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels.label_format import labelled_keypoints
from ehrpose.labels.label_set import LabelSet
from ehrpose.labels.label_studio_task import percent
from ehrpose.labels.new_labels import NewLabels

CONFIG = "labeling_config.xml"
# How Label Studio serves files of a local folder; the path is below its LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT.
_LOCAL = "/data/local-files/?d="
# A keypoint's size on the screen, percent of the photo's width.
_DOT = 0.5


def write_tasks(labels: LabelSet, new: NewLabels) -> None:
    """Write ``tasks.json``, ``labeling_config.xml`` and the photos in ``images``."""
    tasks: List[Dict[str, Any]] = []
    for split, photos in labels.splits.items():
        folder = f"images/{split}" if len(labels.splits) > 1 else "images"
        for photo in photos:
            size = new.place(photo, folder)
            if size is not None:
                tasks.append(_task(photo, str(PurePosixPath(folder, photo.name)), size, new))
    new.json("tasks.json", tasks)
    new.text(CONFIG, _config(new.meta))


def _task(photo: LabelledPhoto, place: str, size: Tuple[int, int], new: NewLabels) -> Dict[str, Any]:
    task: Dict[str, Any] = {"data": {"image": f"{_LOCAL}{quote(place)}"}, "annotations": []}
    predicted = any(person.score is not None for person in photo.people)
    result: List[Dict[str, Any]] = []
    for number, person in enumerate(photo.people):
        shapes = _shapes(person, f"person{number}", size, new)
        if not shapes:
            new.lose("people without keypoints, box or outline")
        result += shapes
    if predicted:
        scores = [person.score for person in photo.people if person.score is not None]
        prediction = {
            "model_version": "ehrpose",
            "score": min(1.0, sum(scores) / len(scores)),
            "result": result,
        }
        return {**task, "predictions": [prediction]}
    return {**task, "annotations": [{"result": result}]}


def _shapes(person: LabelledPerson, name: str, size: Tuple[int, int], new: NewLabels) -> List[Dict[str, Any]]:
    box = new.box(person, size)
    if box is None:
        return []
    label = "crowd" if person.crowd else "person"
    shapes: List[Dict[str, Any]] = []
    if not (person.crowd and person.polygons):
        x, y, w, h = box
        value = percent({"x": x, "y": y, "width": w, "height": h}, size)
        head = _shape(name, "rectanglelabels", {**value, "rotation": 0, "rectanglelabels": [label]}, size)
        shapes.append(head if person.score is None else {**head, "score": person.score})
    if person.crowd:
        new.lose_of_crowd(person)
    for k, x, y, v in [] if person.crowd else labelled_keypoints(person):
        value = {**percent({"x": x, "y": y}, size), "width": _DOT}
        point = f"{name}-{k}"
        shapes.append(
            _shape(
                point, "keypointlabels", {**value, "keypointlabels": [new.meta.names[k]]}, size, parent=name
            )
        )
        if v == 1:
            shapes.append(
                _shape(point, "choices", {**value, "choices": ["hidden"]}, size, source="visibility")
            )
    for number, polygon in enumerate(person.polygons):
        points = [[100 * px / size[0], 100 * py / size[1]] for px, py in zip(polygon[0::2], polygon[1::2])]
        parent = None if person.crowd else name
        drawn = {"points": points, "closed": True, "polygonlabels": [label]}
        shapes.append(_shape(f"{name}-outline{number}", "polygonlabels", drawn, size, parent=parent))
    return shapes


def _shape(
    name: str,
    kind: str,
    value: Dict[str, Any],
    size: Tuple[int, int],
    parent: Optional[str] = None,
    source: Optional[str] = None,
) -> Dict[str, Any]:
    sources = {"rectanglelabels": "box", "keypointlabels": "keypoint", "polygonlabels": "outline"}
    shape = {
        "id": name,
        "type": kind,
        "from_name": source or sources[kind],
        "to_name": "image",
        "original_width": size[0],
        "original_height": size[1],
        "image_rotation": 0,
        "value": value,
    }
    return shape if parent is None else {**shape, "parentID": parent}


def _config(meta: KeypointMeta) -> str:
    """Return the labelling config of a project for these tasks; ``model_index`` is the order of the keypoints."""
    root = ElementTree.Element("View")
    ElementTree.SubElement(root, "Image", {"name": "image", "value": "$image"})
    groups = {"RectangleLabels": "box", "PolygonLabels": "outline"}
    for tag, name in groups.items():
        group = ElementTree.SubElement(root, tag, {"name": name, "toName": "image"})
        for label in ("person", "crowd"):
            ElementTree.SubElement(group, "Label", {"value": label})
    points = ElementTree.SubElement(root, "KeyPointLabels", {"name": "keypoint", "toName": "image"})
    for k, keypoint in enumerate(meta.names):
        ElementTree.SubElement(points, "Label", {"value": keypoint, "model_index": str(k)})
    choices = {"name": "visibility", "toName": "image", "perRegion": "true", "choice": "single"}
    visibility = ElementTree.SubElement(root, "Choices", choices)
    ElementTree.SubElement(visibility, "Choice", {"value": "hidden"})
    return ElementTree.tostring(root, "unicode") + "\n"
