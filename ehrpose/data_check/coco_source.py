"""Reading the labels of a COCO folder, or of one COCO file with a folder of photos."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from ehrpose.data_check.data_labels import DataLabels
from ehrpose.datasets.coco_fields import (
    clean_annotation,
    name_of,
    objects,
    person_categories,
    read_categories,
    read_images,
)
from ehrpose.datasets.coco_json import annotations_of, load_json
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, empty_keypoints
from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.keypoint_meta import KeypointMeta

SPLITS = ("train", "val")


class LabelFile(NamedTuple):
    """A label file, the name of its split, and the folders in which its photos may be, the likeliest first."""

    split: str
    path: Path
    folders: List[Path]


def find_label_files(data: Path, photos: Optional[Path] = None) -> List[LabelFile]:
    """Return the label files of a data set.

    Args:
        data: Folder with ``annotations/*train*.json`` or ``annotations/*val*.json`` or both; or one label file.
        photos: Folder of the photos; None: next to the labels, as in COCO.

    Raises:
        FileNotFoundError: ``data`` does not exist, or has no label file.
        ValueError: Several files could be the labels of a split, or ``photos`` is missing for one file.
    """
    if photos is not None and not photos.is_dir():
        raise FileNotFoundError(f"`photos`: folder not found: {photos}")
    if data.is_file():
        split = _split_of(data.stem) or data.stem
        folders = [photos] if photos else [*_photo_folders(data.parent.parent, data.stem), data.parent]
        return [LabelFile(split, data, folders)]
    if not data.is_dir():
        raise FileNotFoundError(f"{data} not found; expected a COCO folder or its label file")
    found = list(_of_folder(data, photos))
    if not found:
        raise FileNotFoundError(
            f"{data}: expected annotations/*train*.json or annotations/*val*.json; give the label file itself if it "
            "is elsewhere"
        )
    return found


def _of_folder(data: Path, photos: Optional[Path]) -> Iterator[LabelFile]:
    files = sorted((data / "annotations").glob("*.json"))
    for split in SPLITS:
        own = [path for path in files if _split_of(path.stem) == split]
        keypoint_files = [path for path in own if path.name.startswith("person_keypoints_")]
        own = keypoint_files if keypoint_files else own
        if len(own) > 1:
            raise ValueError(
                f"{data}: several label files for {split}: {', '.join(path.name for path in own)}; give one of them"
            )
        for path in own:
            yield LabelFile(split, path, [photos] if photos else _photo_folders(data, path.stem))


def _split_of(stem: str) -> Optional[str]:
    return next((split for split in SPLITS if split in stem.lower()), None)


def _photo_folders(root: Path, stem: str) -> List[Path]:
    match = re.search(r"(?:train|val)[^_]*", stem, re.I)
    names = [match.group()] if match else []
    if match:
        names.append(str(_split_of(stem)))
    folders = [place / name for name in names for place in (root, root / "images")]
    return [*folders, root / "images", root]


def read_labels(files: List[LabelFile], meta: Optional[KeypointMeta] = None) -> DataLabels:
    """Return the labels of all files.

    Args:
        files: From ``find_label_files``.
        meta: The skeleton; None: that of the first file, with mirror pairs by the names.

    Raises:
        FileNotFoundError: A file, or the folder of its photos, does not exist.
        ValueError: A file is not JSON or not COCO's format; the message names the file and the id.
    """
    splits: Dict[str, List[LabelledPhoto]] = {}
    ids: Dict[str, List[List[Any]]] = {}
    stored: Dict[str, List[List[int]]] = {}
    for file in files:
        content = load_json(file.path)
        try:
            meta = meta or skeleton_of(content)
            images = read_images(objects(content, "images"))
            people = _people_by_photo(content, images, meta)
        except ValueError as error:
            raise ValueError(f"{file.path}: {error}") from error
        folder = _photo_folder(file, images)
        splits[file.split] = [
            LabelledPhoto(
                folder / image["file_name"], image["file_name"], (image["width"], image["height"]),
                [person for _, person, _ in people[image_id]], str(file.path),
            )
            for image_id, image in images.items()
        ]  # fmt: skip
        ids[file.split] = [[name for name, _, _ in people[image_id]] for image_id in images]
        stored[file.split] = [[count for _, _, count in people[image_id]] for image_id in images]
    if meta is None:
        raise ValueError("no label file given")
    return DataLabels.build(splits, meta, ids, stored)


def skeleton_of(content: Mapping[str, Any]) -> KeypointMeta:
    """Return the skeleton of a file's category with keypoints; mirror pairs and tolerances are guessed from the names.

    Raises:
        ValueError: None or several of its categories have keypoints.
    """
    entries = objects(content, "categories")
    skeletons = [(entry, names) for entry, names in zip(entries, read_categories(entries).values()) if names]
    if len(skeletons) != 1:
        raise ValueError(
            f"expected one category with keypoint names, got {len(skeletons)}; "
            "give the skeleton's file with `keypoints`"
        )
    entry, names = skeletons[0]
    stored = entry.get("skeleton")
    limbs: List[Any] = stored if isinstance(stored, list) else []
    ends = [
        limb
        for limb in limbs
        if isinstance(limb, list) and len(limb) == 2 and all(type(k) is int for k in limb)
    ]
    known = [
        (names[i - 1], names[j - 1]) for i, j in ends if min(i, j) > 0 and max(i, j) <= len(names) and i != j
    ]
    return KeypointMeta.build(guess_keypoints("data", names, known))


def _people_by_photo(
    content: Mapping[str, Any], images: Mapping[Any, Mapping[str, Any]], meta: KeypointMeta
) -> Dict[Any, List[Tuple[Any, LabelledPerson, int]]]:
    people: Dict[Any, List[Tuple[Any, LabelledPerson, int]]] = {image_id: [] for image_id in images}
    categories = person_categories(objects(content, "categories"), meta.names)
    for ann in annotations_of(content, images, categories):
        clean = clean_annotation(ann, meta.names)
        if "keypoints" not in clean and not clean["iscrowd"]:
            raise ValueError(f"{name_of(ann)} has no 'keypoints'")
        keypoints = empty_keypoints(meta.num_keypoints)
        if "keypoints" in clean:
            keypoints = np.array(clean["keypoints"], np.float64).reshape(-1, 3)
        count = clean.get("num_keypoints")
        person = LabelledPerson(
            keypoints, clean.get("bbox"), crowd=bool(clean["iscrowd"]), area=clean.get("area")
        )
        people[ann["image_id"]].append((ann["id"], person, -1 if count is None else int(count)))
    return people


def _photo_folder(file: LabelFile, images: Mapping[Any, Mapping[str, Any]]) -> Path:
    """Return the folder that has one of the first photos: a single one may be missing."""
    names = [image["file_name"] for image in list(images.values())[:20]]
    for folder in file.folders:
        if any((folder / name).is_file() for name in names):
            return folder
    if not names:
        return file.folders[0]
    looked = ", ".join(map(str, file.folders))
    raise FileNotFoundError(
        f"{file.path}: none of its first photos is in {looked}; give their folder with `photos`"
    )
