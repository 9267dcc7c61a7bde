"""Reading COCO keypoint files as exported by CVAT, COCO Annotator, FiftyOne, Label Studio and others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from ehrpose.datasets.coco_fields import (
    box_around,
    clean_annotation,
    name_of,
    objects,
    read_categories,
    read_images,
    shown,
)
from ehrpose.datasets.coco_json import annotations_of, load_json
from ehrpose.datasets.coco_masks import mask_area
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, empty_keypoints, upright_box
from ehrpose.datasets.converters.merged_people import merged_note
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.datasets.json_values import is_number
from ehrpose.keypoint_meta import KeypointMeta

_IDS = ("id", "image_id", "category_id")


class CocoExport:
    """A JSON file of people with keypoints in COCO format.

    Keypoints may come in another order than in the skeleton. Keypoints that the file lacks count as not labelled.
    Outlines are kept as polygons and run-length masks, the latter with their boxes and areas. If no category names its
    keypoints, they are taken in the skeleton's order. Null and empty fields count as missing.

    Label Studio's COCO export merges all people of a photo into one annotation; what the file shows of it is noted.

    Attributes:
        notes: What the user should know about the file, one line each.

    Args:
        path: The JSON file.
        label: Name or id of the category, if several have keypoints.
        content: What the file holds, if it was read and changed already.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: It is not in COCO format, or the category is not clear.
    """

    def __init__(self, path: Path, label: str | None = None, content: Mapping[str, Any] | None = None):
        if not path.is_file():
            raise FileNotFoundError(f"file not found: {path}")
        self.path = path
        self.notes: list[str] = []
        self._content = load_json(path) if content is None else content
        lists = ("images", "annotations", "categories")
        if not all(isinstance(self._content.get(k), list) for k in lists):
            raise ValueError(f"{path}: expected COCO format with the lists {', '.join(lists)}")
        try:
            self._names, self._ids = self._find_category(label)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _find_category(self, label: str | None) -> tuple[tuple[str, ...], set]:
        """Return the keypoints' names, empty if the file has none, and the ids of the people's categories."""
        entries = objects(self._content, "categories")
        skeletons = read_categories(entries)
        titles = {i: str(entry.get("name")) for i, entry in zip(skeletons, entries)}
        fitting = [i for i, names in skeletons.items() if names]
        if not fitting:
            used = [a.get("category_id") for a in objects(self._content, "annotations") if a.get("keypoints")]
            fitting = [i for i in skeletons if i in used]
        known = sorted({titles[i] for i in fitting})
        if label is not None:
            fitting = [i for i in fitting if label in (titles[i], str(i))]
            if not fitting:
                raise ValueError(f"no category {label!r} with keypoints; available: {known}")
        elif len(known) > 1:
            raise ValueError(f"several categories have keypoints, {known}; choose one with `label`")
        if len({skeletons[i] for i in fitting}) > 1:
            raise ValueError(
                f"the categories {', '.join(map(shown, fitting))} are all named {titles[fitting[0]]!r}, with "
                f"different keypoints; choose one by its id with `label`"
            )
        return (skeletons[fitting[0]] if fitting else ()), set(fitting)

    def keypoints(self) -> dict[str, Any]:
        """Return a keypoint config made from the file's own category.

        Raises:
            ValueError: No category has keypoints.
        """
        if not self._names:
            raise ValueError(
                f"{self.path}: no category has keypoints; give their names and order with `keypoints`"
            )
        entry = next(e for e in objects(self._content, "categories") if e["id"] in self._ids)
        limbs, note = _limbs(entry.get("skeleton"), self._names)
        if note:
            self.notes.append(f"{self.path}: {note}")
        if len(set(self._names)) < len(self._names):
            raise ValueError(
                f"{self.path}: expected keypoint names that are all distinct, got {list(self._names)}"
            )
        return guess_keypoints(str(entry.get("name", "person")), self._names, limbs)

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
            rename: Keypoint in the file to keypoint name, where they differ.
            ignore: Keypoints in the file that are left out.

        Raises:
            ValueError: A keypoint is unknown, a photo or annotation is broken, listed twice, or has no owner; the
                message names its id.
        """
        labels = self._names or meta.names
        columns = self._columns(labels, meta, rename or {}, set(ignore))
        people: dict[Any, list[LabelledPerson]] = defaultdict(list)
        try:
            images = read_images(objects(self._content, "images"), need_files=False)
            for ann in annotations_of(self._content, images, self._ids):
                image = images[ann["image_id"]]
                person = _person(ann, labels, columns, meta, (image["width"], image["height"]))
                people[ann["image_id"]].append(person)
            note = merged_note(self._content, images, self._ids)
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error
        self.notes += [f"{self.path}: {note}"] if note else []
        photos = []
        for image_id, image in images.items():
            name, size = image["file_name"] or "", (image["width"], image["height"])
            photos.append(
                LabelledPhoto(
                    search.find(name),
                    search.name(name),
                    size if all(size) else None,
                    people[image_id],
                    f"{self.path}: {name}",
                    id=image_id,
                    crowd_index=image.get("crowd_index"),
                )
            )
        return photos

    def _columns(
        self, labels: Sequence[str], meta: KeypointMeta, rename: Mapping[str, str], ignore: set[str]
    ) -> list[int | None]:
        """Return the skeleton index of each keypoint of the file; None for ignored ones."""
        columns: list[int | None] = []
        for label in labels:
            name = rename.get(label, label)
            if label in ignore:
                columns.append(None)
            elif name not in meta.names:
                raise ValueError(
                    f"{self.path}: unknown keypoint {label!r}; keypoints of {meta.dataset_name!r}: "
                    f"{list(meta.names)}. Use `rename` {label}=NAME or `ignore` {label}"
                )
            elif meta.names.index(name) in columns:
                raise ValueError(f"{self.path}: two keypoints are named {name!r}; rename or ignore one")
            else:
                columns.append(meta.names.index(name))
        return columns


def _limbs(skeleton: Any, names: Sequence[str]) -> tuple[list[tuple[str, str]], str]:
    """Return the limbs of a category, and a note if they are not COCO's pairs of numbers from 1 to K.

    A pair with a 0 shows that the file counts from 0.
    """
    pairs = skeleton if isinstance(skeleton, list) else []
    numbers = [end for pair in pairs if isinstance(pair, list) for end in pair]
    first = 0 if any(type(end) is int and end == 0 for end in numbers) else 1
    known: dict[Any, str] = {
        **{first + i: name for i, name in enumerate(names)},
        **{name: name for name in names},
    }
    limbs, wrong = [], [] if isinstance(skeleton, list) or skeleton is None else [skeleton]
    for pair in pairs:
        ends = pair if isinstance(pair, list) and all(type(end) in (int, str) for end in pair) else []
        if len(ends) == 2 and all(end in known for end in ends) and ends[0] != ends[1]:
            limbs.append((known[ends[0]], known[ends[1]]))
        else:
            wrong.append(pair)
    notes = [] if first else ["the skeleton counts keypoints from 0, COCO's from 1; read from 0"]
    if wrong:
        notes.append(
            f"{len(wrong)} of its limbs are left out, expected pairs of keypoints from {first} to "
            f"{first + len(names) - 1}, got {', '.join(map(shown, wrong[:3]))}"
        )
    return limbs, "; ".join(notes)


def _person(
    stored: Mapping[str, Any],
    labels: Sequence[str],
    columns: Sequence[int | None],
    meta: KeypointMeta,
    size: tuple[int, int],
) -> LabelledPerson:
    ann = {k: v for k, v in stored.items() if k in _IDS or (v is not None and v != [])}
    clean = clean_annotation(ann, labels, size)
    keypoints = empty_keypoints(meta.num_keypoints)
    values = clean.get("keypoints") or ()
    for column, x, y, visibility in zip(columns, values[0::3], values[1::3], values[2::3]):
        if column is not None:
            keypoints[column] = (x, y, visibility)
    outline = clean.get("segmentation") or []
    box = clean.get("bbox")
    if box is not None and (box[2] <= 0 or box[3] <= 0):
        box = None  # some tools write zeros for a missing box
    turned = (clean.get("attributes") or {}).get("rotation", 0) if _has_attributes(clean) else 0
    if box is not None and turned and not outline:
        try:
            box = upright_box(box, float(turned))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{name_of(ann)}: expected degrees as 'rotation', got {shown(turned)}"
            ) from error
    polygons = outline if isinstance(outline, list) else []
    if box is None and not isinstance(outline, list):
        box = box_around((), outline, size)
    area = clean.get("area") or mask_area(outline) or None
    mask = outline if isinstance(outline, Mapping) else None
    score = clean.get("score")
    return LabelledPerson(
        keypoints, box, polygons, bool(clean["iscrowd"]), area, mask, ann["id"], _track(clean),
        float(score) if score is not None and is_number(score) else None,
    )  # fmt: skip


def _track(clean: Mapping[str, Any]) -> Any:
    """Return the id of the person over several photos, from where COCO's relatives and CVAT store it."""
    stored = clean.get("track_id", clean["attributes"].get("track_id") if _has_attributes(clean) else None)
    return stored if type(stored) in (int, str) else None


def _has_attributes(clean: Mapping[str, Any]) -> bool:
    return isinstance(clean.get("attributes"), Mapping)
