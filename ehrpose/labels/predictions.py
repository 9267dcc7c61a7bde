"""What ``ehrpose predict`` wrote, as labels to be corrected: one JSON file of people for each photo."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Union

import numpy as np

from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto
from ehrpose.datasets.json_values import are_finite, is_number, shown
from ehrpose.image_io import IMAGE_SUFFIXES
from ehrpose.keypoint_files import coco_keypoints
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels.found_files import json_contents, load
from ehrpose.labels.label_format import LabelFormat
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.registry import LABEL_FORMATS

_COCO = 17


@LABEL_FORMATS.register_module(name="ehrpose")
class Predictions(LabelFormat):
    """A folder of predictions, and the folder of the photos they are for."""

    title = "ehrpose predictions"
    docs = (
        "The JSON files of `ehrpose predict PHOTOS` (read only), with the folder of the photos. Keypoints below a "
        "score count as not labelled. 17 keypoints are COCO's unless the skeleton is given."
    )
    holds = frozenset(("boxes", "scores", "keypoint scores", "track ids"))
    can_write = False

    def check(self, path: Union[str, Path]) -> Optional[str]:
        contents = list(json_contents(Path(path)))
        if any(_is_video(content) for content in contents):
            return "expected predictions of photos, got those of a video: split it into photos first"
        lists = [content for content in contents if isinstance(content, list)]
        if lists and not any(content for content in lists):
            return "expected predictions with people, got empty lists only"
        if any(content and all(map(_is_person, content)) for content in lists):
            return None
        return "expected JSON lists of people with 'keypoints' and 'keypoint_scores'"

    def _read(self, path: Path, how: Reading) -> LabelSet:
        files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        people: Dict[Path, List[Mapping[str, Any]]] = {}
        for file in files:
            content = load(file)
            if isinstance(content, list) and all(map(_is_person, content)):
                people[file] = content
        notes: List[str] = []
        meta = how.keypoints
        if meta is None:
            meta = _coco_keypoints(path, people)
            notes.append(
                f"{path}: 17 keypoints without names are taken as COCO's; `keypoints` gives other ones"
            )
        root = path if path.is_dir() else path.parent
        photos = [self._photo(file, root, found, meta, how) for file, found in people.items()]
        return LabelSet(meta, {"train": photos}, notes)

    def _photo(
        self, file: Path, root: Path, people: List[Mapping[str, Any]], meta: KeypointMeta, how: Reading
    ) -> LabelledPhoto:
        relative = file.relative_to(root).with_suffix("")
        photo = _photo_of(relative.as_posix(), file, how, root)
        folder = how.photos or root
        name = photo.relative_to(folder).as_posix() if folder in photo.parents else photo.name
        try:
            own = [_person(person, meta, how.kpt_thr) for person in people]
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from error
        return LabelledPhoto(photo, name, None, own, str(file))


def _is_person(content: Any) -> bool:
    return isinstance(content, Mapping) and "keypoints" in content and "keypoint_scores" in content


def _is_video(content: Any) -> bool:
    return isinstance(content, list) and any(isinstance(c, Mapping) and "instances" in c for c in content)


def _coco_keypoints(path: Path, people: Mapping[Path, List[Mapping[str, Any]]]) -> KeypointMeta:
    counts = {
        len(p["keypoints"]) for found in people.values() for p in found if isinstance(p["keypoints"], list)
    }
    if counts - {_COCO}:
        raise ValueError(
            f"{path}: predictions do not name their keypoints; they have {sorted(counts)}, expected COCO's 17 or the "
            f"skeleton as `keypoints`"
        )
    return KeypointMeta.build(coco_keypoints())


def _photo_of(stem: str, file: Path, how: Reading, root: Path) -> Path:
    """Return the photo of a prediction: the one of the same name.

    Raises:
        ValueError: Several photos have it.
        FileNotFoundError: None has it, and missing photos are not skipped.
    """
    folder = how.photos if how.photos is not None else root
    if not folder.is_dir():
        raise FileNotFoundError(f"folder of photos not found: {folder}")
    found = [path for path in (folder / f"{stem}{suffix}" for suffix in _suffixes()) if path.is_file()]
    if not found:
        names = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES)
        found = [path for path in names if path.stem == Path(stem).name]
    if len({path.resolve() for path in found}) > 1:
        raise ValueError(f"{file}: several photos are named {stem}: {', '.join(map(str, found[:3]))}")
    if not found and how.skip_bad:
        return folder / f"{stem}.jpg"
    if not found:
        raise FileNotFoundError(
            f"{file}: no photo named {stem} in or below {folder}; give its folder with `folders`"
        )
    return found[0]


def _suffixes() -> List[str]:
    return [*IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES)]


def _person(stored: Mapping[str, Any], meta: KeypointMeta, kpt_thr: float) -> LabelledPerson:
    keypoints, scores = stored["keypoints"], stored["keypoint_scores"]
    num = meta.num_keypoints
    fits = isinstance(keypoints, list) and all(
        isinstance(p, list) and len(p) == 2 and are_finite(p) for p in keypoints
    )
    if not fits or len(keypoints) != num:
        raise ValueError(f"expected {num} pairs of numbers as 'keypoints', got {shown(keypoints)}")
    if not isinstance(scores, list) or len(scores) != num or not are_finite(scores):
        raise ValueError(f"expected {num} numbers as 'keypoint_scores', got {shown(scores)}")
    found = np.asarray(scores, np.float64)
    labels = np.zeros((num, 3))
    seen = found >= kpt_thr
    labels[seen, :2] = np.asarray(keypoints, np.float64)[seen]
    labels[seen, 2] = 2
    score = stored.get("bbox_score")
    return LabelledPerson(
        labels,
        _box(stored.get("bbox")),
        track_id=stored.get("track_id"),
        score=float(score) if is_number(score) else None,  # type: ignore[arg-type]
        keypoint_scores=found,
    )


def _box(stored: Any) -> Optional[List[float]]:
    """Return x, y, width, height of a box stored as corners in a list of one."""
    if stored is None:
        return None
    box = stored[0] if isinstance(stored, list) and len(stored) == 1 else stored
    if not isinstance(box, list) or len(box) != 4 or not are_finite(box):
        raise ValueError(f"expected x0, y0, x1, y1 as 'bbox', got {shown(stored)}")
    x0, y0, x1, y1 = map(float, box)
    return [x0, y0, x1 - x0, y1 - y0] if x1 > x0 and y1 > y0 else None
