"""Reading labelme's JSON files: points are keypoints, shapes with one ``group_id`` are one person."""

from __future__ import annotations

import base64
import binascii
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np

from ehrpose.counted import counted
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, check_unique, empty_keypoints
from ehrpose.datasets.json_values import are_finite, shown
from ehrpose.keypoint_meta import KeypointMeta

_CROWD = ("crowd", "ignore")
_BOXES = ("rectangle", "oriented_rectangle")
_HIDDEN = ("occluded", "hidden", "invisible")


class LabelmeReader:
    """Reads labelme's files for one skeleton.

    A ``point`` whose label is a keypoint's name is that keypoint: visible, or hidden if a flag of the shape named
    ``occluded``, ``hidden`` or ``invisible`` is set, or its description is one of these words. A ``rectangle`` (or the
    upright one around an ``oriented_rectangle``) is its person's box, a ``polygon`` an outline. Either, if labelled
    ``crowd`` or ``ignore``, is a region that training ignores. If a photo has no groups, all of its shapes are one
    person.

    Attributes:
        ignored: Kind of shape (``circle``, ``line``, ...) or label to the number of shapes that were left out.

    Args:
        meta: The skeleton.
        rename: Label in the files to keypoint name, where they differ.
        ignore: Labels that are left out.
    """

    def __init__(
        self, meta: KeypointMeta, rename: Mapping[str, str] | None = None, ignore: Collection[str] = ()
    ):
        self.meta = meta
        self.rename = dict(rename or {})
        self.ignore = set(ignore)
        self.ignored: dict[str, int] = defaultdict(int)
        unknown = [name for name in self.rename.values() if name not in meta.names]
        if unknown:
            raise ValueError(f"`rename`: unknown keypoints {unknown}; available: {list(meta.names)}")

    def read_folder(self, folder: Path) -> list[LabelledPhoto]:
        """Read every labelme file in a folder and its subfolders.

        Raises:
            FileNotFoundError: The folder does not exist, or contains no labelme file.
            ValueError: A file is broken or its shapes are invalid; the message names the file.
        """
        if not folder.is_dir():
            raise FileNotFoundError(f"folder not found: {folder}")
        photos = []
        for path in sorted(folder.rglob("*.json")):
            content = _load(path)
            if isinstance(content, Mapping) and "shapes" in content:
                photos.append(self._read(content, path, folder))
        if not photos:
            raise FileNotFoundError(f"{folder}: no labelme file (JSON with 'shapes') in it or its subfolders")
        check_unique(photos)
        return photos

    def _read(self, content: Mapping[str, Any], path: Path, folder: Path) -> LabelledPhoto:
        try:
            shapes = content["shapes"]
            if not isinstance(shapes, list) or not all(isinstance(shape, Mapping) for shape in shapes):
                raise ValueError("expected a list of objects as 'shapes'")
            people = self._people([shape for shape in shapes if self._is_wanted(shape)])
            photo = _photo_path(content, path)
            size = _size(content)
            embedded = _embedded(content) if not photo.is_file() else None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return LabelledPhoto(
            path=photo,
            name=_name(photo, path, folder),
            size=size,
            people=people,
            source=str(path),
            content=embedded,
        )

    def _is_wanted(self, shape: Mapping[str, Any]) -> bool:
        label, kind = str(shape.get("label")), shape.get("shape_type", "polygon")
        if label in self.ignore:
            self.ignored[f"label {label!r}"] += 1
        elif kind not in ("point", "polygon", *_BOXES):
            self.ignored[f"shape {kind!r}"] += 1
        else:
            return True
        return False

    def _people(self, shapes: Sequence[Mapping[str, Any]]) -> list[LabelledPerson]:
        groups: dict[Any, list] = defaultdict(list)
        people = []
        for shape in shapes:
            if str(shape.get("label")) in _CROWD:
                people.append(self._person([shape], crowd=True))
            else:
                groups[_group(shape)].append(shape)
        if None in groups and len(groups) > 1:
            shape = groups[None][0]
            raise ValueError(
                f"{shape.get('shape_type')} {shape.get('label')!r} has no group_id while others do: give all shapes "
                f"of one person the same number"
            )
        return people + [self._person(members) for members in groups.values()]

    def _person(self, shapes: Sequence[Mapping[str, Any]], crowd: bool = False) -> LabelledPerson:
        keypoints, box, polygons = empty_keypoints(self.meta.num_keypoints), None, []
        for shape in shapes:
            points = _points(shape)
            if shape.get("shape_type") == "point":
                k = self._index(shape)
                if keypoints[k, 2]:
                    group = shape.get("group_id")
                    raise ValueError(
                        f"group_id {group} has two points {self.meta.names[k]!r}: give every person their own "
                        f"group_id"
                    )
                keypoints[k] = (*points[0], 1 if _is_hidden(shape) else 2)
            elif shape.get("shape_type") in _BOXES:
                if box is not None:
                    raise ValueError(
                        f"group_id {shape.get('group_id')} has two rectangles, expected one box per person"
                    )
                low, high = points.min(axis=0), points.max(axis=0)
                box = [*low.tolist(), *(high - low).tolist()]
            else:
                polygons.append(points.ravel().tolist())
        return LabelledPerson(keypoints, box, polygons, crowd)

    def _index(self, shape: Mapping[str, Any]) -> int:
        label = str(shape.get("label"))
        name = self.rename.get(label, label)
        if name not in self.meta.names:
            raise ValueError(
                f"point with unknown label {label!r}; keypoints of {self.meta.dataset_name!r}: "
                f"{list(self.meta.names)}. Use `rename` {label}=NAME or `ignore` {label}"
            )
        return self.meta.names.index(name)


def _load(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from error


def _points(shape: Mapping[str, Any]) -> np.ndarray:
    kind, label = shape.get("shape_type", "polygon"), shape.get("label")
    least = 1 if kind == "point" else 2 if kind in _BOXES else 3
    points = shape.get("points")
    if (
        not isinstance(points, list)
        or len(points) < least
        or not all(isinstance(point, list) and len(point) == 2 and are_finite(point) for point in points)
    ):
        raise ValueError(
            f"{kind} {label!r}: expected at least {counted(least, 'pair')} of finite numbers, got {shown(points)}"
        )
    return np.array(points, np.float64)


def _is_hidden(shape: Mapping[str, Any]) -> bool:
    flags, description = shape.get("flags") or {}, shape.get("description") or ""
    if not isinstance(flags, Mapping) or not isinstance(description, str):
        raise ValueError(
            f"point {shape.get('label')!r}: expected an object as 'flags' and a text as 'description', got "
            f"{shown(flags)} and {shown(description)}"
        )
    return any(flags.get(word) for word in _HIDDEN) or description.strip() in _HIDDEN


def _group(shape: Mapping[str, Any]) -> int | None:
    """Return the number of the person that a shape belongs to; None: not given."""
    group = shape.get("group_id")
    if group is not None and type(group) is not int:
        raise ValueError(
            f"{shape.get('label')!r}: expected a whole number or null as 'group_id', got {shown(group)}"
        )
    return group


def _size(content: Mapping[str, Any]) -> tuple[int, int] | None:
    size = [content.get(key) for key in ("imageWidth", "imageHeight")]
    if not all(size):
        return None
    if not all(type(side) is int and side > 0 for side in size):
        raise ValueError(f"expected 'imageWidth' and 'imageHeight' as whole numbers of px, got {shown(size)}")
    width, height = size
    return width, height  # type: ignore[return-value]


def _photo_path(content: Mapping[str, Any], path: Path) -> Path:
    name = content.get("imagePath")
    if not isinstance(name, str) or not name:
        raise ValueError("'imagePath', the photo that the labels are for, is missing")
    # Paths written on Windows have backslashes.
    return path.parent / (PureWindowsPath(name).as_posix() if "\\" in name else name)


def _name(photo: Path, path: Path, folder: Path) -> str:
    """Return the photo's path relative to the folder; if it lies elsewhere, one next to its label file."""
    try:
        relative = photo.resolve().relative_to(folder.resolve())
    except ValueError:
        relative = path.relative_to(folder).parent / photo.name
    return PurePosixPath(*relative.parts).as_posix()


def _embedded(content: Mapping[str, Any]) -> bytes | None:
    data = content.get("imageData")
    if not data:
        return None
    if not isinstance(data, str):
        raise ValueError(f"expected a base64 text as 'imageData', got {shown(data)}")
    try:
        return base64.b64decode(data)
    except (TypeError, ValueError, binascii.Error) as error:
        raise ValueError(f"'imageData' is not valid base64: {error}") from error
