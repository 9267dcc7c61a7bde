"""labelme's JSON files: one beside each photo."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, Dict, List, Mapping, Optional, Tuple, Union

import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto
from ehrpose.datasets.converters.labelme import LabelmeReader
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.labels.found_files import json_contents, load
from ehrpose.labels.label_format import LabelFormat, labelled_keypoints
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.labels.new_labels import NewLabels
from ehrpose.registry import LABEL_FORMATS


@LABEL_FORMATS.register_module(name="labelme")
class LabelmeLabels(LabelFormat):
    """A folder of labelme's files; the shapes of a person have one ``group_id``."""

    title = "labelme"
    docs = (
        "JSON beside each photo: points, rectangles and polygons with a `group_id` for each person, the flag "
        "`occluded` for hidden keypoints. Names are in order of appearance: give the skeleton for your own."
    )
    holds = frozenset(("hidden keypoints", "boxes", "outlines", "crowds", "people without keypoints"))

    def check(self, path: Union[str, Path]) -> Optional[str]:
        path = Path(path)
        if not path.is_dir():
            return "expected a folder with labelme's JSON files, got a file"
        if any(isinstance(c, Mapping) and isinstance(c.get("shapes"), list) for c in json_contents(path)):
            return None
        return "expected JSON files with 'shapes'"

    def _read(self, path: Path, how: Reading) -> LabelSet:
        meta = how.meta_or(lambda: self._keypoints(path, how))
        reader = LabelmeReader(meta, how.rename, how.ignore)
        photos = reader.read_folder(path)
        if how.photos is not None:
            search = how.search()
            photos = [p if p.path.is_file() else p._replace(path=search.find(p.name)) for p in photos]
        notes = [f"{path}: left out {count} x {what}" for what, count in reader.ignored.items()]
        if how.keypoints is None:
            notes.append(
                f"{path}: keypoints in the order of their first appearance; `keypoints` gives your own"
            )
        return LabelSet(meta, {"train": photos}, notes)

    def _keypoints(self, path: Path, how: Reading) -> Dict[str, Any]:
        names: Dict[str, None] = {}
        for file in sorted(path.rglob("*.json")):
            content = load(file)
            shapes = content.get("shapes") if isinstance(content, Mapping) else None
            for shape in shapes if isinstance(shapes, list) else ():
                if isinstance(shape, Mapping) and shape.get("shape_type") == "point":
                    label = str(shape.get("label"))
                    if label not in how.ignore:
                        names[how.name_of(label)] = None
        if not names:
            raise ValueError(
                f"{path}: expected points as keypoints, got none; give the skeleton with `keypoints`"
            )
        return guess_keypoints("person", list(names))

    def _write(self, labels: LabelSet, new: NewLabels) -> None:
        for split, photos in labels.splits.items():
            folder = split if len(labels.splits) > 1 else ""
            for photo in photos:
                size = new.place(photo, folder)
                if size is None:
                    continue
                target = new.claim(new.folder / folder / Path(photo.name).with_suffix(".json"), photo)
                new.json(target.relative_to(new.folder).as_posix(), _content(photo, size, new))


def _content(photo: LabelledPhoto, size: Tuple[int, int], new: NewLabels) -> Dict[str, Any]:
    shapes: List[Dict[str, Any]] = []
    for group, person in enumerate(photo.people):
        own = _shapes(person, group, new)
        if not own:
            new.lose("people without keypoints, box or outline")
        shapes += own
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(photo.name).name,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
    }


def _shapes(person: LabelledPerson, group: int, new: NewLabels) -> List[Dict[str, Any]]:
    label = "crowd" if person.crowd else "person"
    outlines = [np.reshape(polygon, (-1, 2)).tolist() for polygon in person.polygons]
    shapes = []
    if not person.crowd:
        shapes = [
            _shape("point", new.meta.names[k], [[x, y]], group, v == 1)
            for k, x, y, v in labelled_keypoints(person)
        ]
    if person.box is not None and not (person.crowd and outlines):
        x, y, w, h = map(float, person.box)
        shapes.append(_shape("rectangle", label, [[x, y], [x + w, y + h]], group))
    if person.crowd:
        new.lose_of_crowd(person)
    return shapes + [_shape("polygon", label, outline, group) for outline in outlines]


def _shape(
    kind: str, label: str, points: List[List[float]], group: int, hidden: bool = False
) -> Dict[str, Any]:
    return {
        "label": label,
        "points": points,
        "group_id": group,
        "description": "occluded" if hidden else "",
        "shape_type": kind,
        "flags": {"occluded": True} if hidden else {},
        "mask": None,
    }
