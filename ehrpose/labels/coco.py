"""COCO's keypoint json, with COCO-WholeBody's and CrowdPose's forms."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Union

from ehrpose.counted import counted
from ehrpose.datasets.coco_json import load_json
from ehrpose.datasets.converters.coco_export import CocoExport
from ehrpose.datasets.converters.coco_folder import CocoFolderWriter, are_own_ids
from ehrpose.datasets.converters.labelled import LabelledPhoto, check_unique
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels import wholebody
from ehrpose.labels.found_files import json_contents, load
from ehrpose.labels.label_format import FIELDS, LabelFormat
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.labels.new_labels import NewLabels
from ehrpose.registry import LABEL_FORMATS

_SPLITS = {"train": "train", "valid": "val", "val": "val", "test": "test"}
_LISTS = ("images", "annotations", "categories")


@LABEL_FORMATS.register_module(name="coco")
class CocoLabels(LabelFormat):
    """COCO's keypoint json: a file, or a folder with one for each split."""

    title = "COCO keypoints"
    docs = (
        "`person_keypoints_*.json` beside photos; also what CVAT, FiftyOne, datumaro and Roboflow export, "
        "COCO-WholeBody (133 keypoints) and CrowdPose. A missing box or area is made."
    )
    holds = frozenset(FIELDS) - {"keypoint scores", "mirror pairs"}

    def check(self, path: Union[str, Path]) -> Optional[str]:
        path = Path(path)
        if any(_is_coco(content) for content in json_contents(path)):
            return None
        return f"expected a JSON file with the lists {', '.join(_LISTS)}"

    def _read(self, path: Path, how: Reading) -> LabelSet:
        meta = how.keypoints
        splits: Dict[str, List[LabelledPhoto]] = {}
        notes: List[str] = []
        for file in annotation_files(path):
            content = load_json(file)
            if wholebody.is_wholebody(content):
                try:
                    content, told = wholebody.joined(content)
                except ValueError as error:
                    raise ValueError(f"{file}: {error}") from error
                notes += [f"{file}: {text}" for text in told]
            source = CocoExport(file, how.label, content)
            if meta is None:
                meta = KeypointMeta.build(_keypoints(source))
            # The JSON file of an export is in `annotations`, next to the photos.
            root = path if path.is_dir() else file.parent
            folders = [root.parent] if root.name == "annotations" else [root]
            split = split_of(file)
            if split and (folders[0] / f"{split}2017").is_dir():
                folders.insert(0, folders[0] / f"{split}2017")
            if file.name == "_annotations.coco.json":
                folders.insert(0, file.parent)
            photos = source.read(meta, how.search(*folders), how.rename, how.ignore)
            check_unique(photos)
            splits.setdefault(split or "train", []).extend(photos)
            notes += source.notes
        assert meta is not None
        return LabelSet(meta, splits, notes)

    def _write(self, labels: LabelSet, new: NewLabels) -> None:
        writer = CocoFolderWriter(new.folder, new.meta, new.symlink, new.skip_bad, keep_ids=True)
        for split, photos in labels.splits.items():
            people = [person for photo in photos for person in photo.people]
            for what, ids in (("photo ids", [p.id for p in photos]), ("ids", [p.id for p in people])):
                if any(i is not None for i in ids) and not are_own_ids(ids):
                    new.lose(f"{what} (not distinct whole numbers above 0)", sum(i is not None for i in ids))
            _, written = writer.write(split, photos, "converted by ehrpose")
            kept = sum(len(photo.people) for photo in photos if photo.name not in writer.skipped)
            new.lose("people without keypoints, box or outline", kept - written)
        new.skipped.update(writer.skipped)


def _keypoints(source: CocoExport) -> Mapping[str, Any]:
    config = source.keypoints()
    if tuple(config["names"]) == wholebody.NAMES:
        return {**config, "swap": wholebody.SWAP, "skeleton": wholebody.limbs(config["skeleton"])}
    return config


def _is_coco(content: Any) -> bool:
    return isinstance(content, Mapping) and all(isinstance(content.get(key), list) for key in _LISTS)


def annotation_files(path: Path) -> List[Path]:
    """Return the annotation files of a COCO dataset: the file itself, or those of a folder.

    Raises:
        ValueError: A folder has several that are not the splits of one dataset.
    """
    if path.is_file():
        return [path]
    found = sorted({*path.rglob("person_keypoints_*.json"), *path.rglob("_annotations.coco.json")})
    if not found:
        near = sorted([*path.glob("*.json"), *path.glob("annotations/*.json"), *path.glob("json/*.json")])
        found = [file for file in near if _is_coco(load(file))]
    if not found:
        raise ValueError(f"{path}: expected a COCO file in the folder or in its annotations folder, got none")
    splits = [split_of(file) for file in found]
    if len(found) > 1 and (None in splits or len(set(splits)) < len(splits)):
        raise ValueError(
            f"{path} has {counted(len(found), 'annotation file')} ({', '.join(p.name for p in found[:4])}): expected "
            f"one, or one for each of train, val and test; give the one to convert"
        )
    return found


def split_of(file: Path) -> Optional[str]:
    """Return the split that a file's or its folder's name says, or None."""
    found = re.search(r"(?:^|[^a-z])(train|valid|val|test)(?:$|[^a-z])", file.stem.lower())
    return _SPLITS[found[1]] if found else _SPLITS.get(file.parent.name.lower())
