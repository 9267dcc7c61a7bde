"""YOLO-pose: data.yaml, and for each photo a text file with a line of shares of its size for each person.

What ultralytics 8.4.190 does with the numbers was measured: of two values a keypoint (kpt_shape [K, 2]) it reads
``0 0`` as visible; a keypoint beyond the photo by more than 1 % drops the photo with everyone in it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import numpy as np
import yaml

from ehrpose.counted import counted
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, check_unique
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels.label_format import LabelFormat, labelled_keypoints
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.labels.new_labels import NewLabels
from ehrpose.labels.yolo_data import YoloData, find_yaml
from ehrpose.labels.yolo_lines import YoloLines
from ehrpose.registry import LABEL_FORMATS


@LABEL_FORMATS.register_module(name="yolo")
class YoloLabels(LabelFormat):
    """YOLO-pose as ultralytics reads it, and as CVAT, Roboflow, Label Studio and others export it."""

    title = "YOLO-pose"
    docs = (
        "`data.yaml` with `kpt_shape` [K, 3] or [K, 2] and `flip_idx`, `images/` and `labels/*.txt`. Written with "
        "three values; of two values, `0 0` is read as not labelled. Names come from `kpt_names` (sleap-io: "
        "`node_names`), or give the skeleton."
    )
    holds = frozenset(
        (
            "hidden keypoints",
            "boxes",
            "people without keypoints",
            "splits",
            "order of keypoints",
            "mirror pairs",
        )
    )

    def check(self, path: Union[str, Path]) -> Optional[str]:
        path = Path(path)
        file = find_yaml(path)
        if file is None:
            return "expected a YAML file with kpt_shape (data.yaml), or a folder with one"
        try:
            YoloData.read(file)
        except ValueError as error:
            return str(error)
        return None

    def _read(self, path: Path, how: Reading) -> LabelSet:
        file = find_yaml(path)
        assert file is not None  # check() found it
        data = YoloData.read(file)
        try:
            meta = how.meta_or(data.keypoints)
            names = data.names_or(meta)
            lines = YoloLines(
                data, how.columns(names, meta), meta.num_keypoints, data.person_class(how.label)
            )
            splits: Dict[str, List[LabelledPhoto]] = {}
            for split, photos in data.photos(how.photos).items():
                splits[split] = [self._photo(p.path, p.name, p.labels, lines, how) for p in photos]
                check_unique(splits[split])
            lines.check_classes()
            _check_label_files(splits)
        except ValueError as error:
            text = str(error)
            raise ValueError(text if str(file.parent) in text else f"{file}: {text}") from error
        return LabelSet(meta, splits, [f"{file}: {note}" for note in lines.notes()])

    def _photo(self, path: Path, name: str, labels: Path, lines: YoloLines, how: Reading) -> LabelledPhoto:
        people: List[LabelledPerson] = []
        size = None
        if labels.is_file() and labels.stat().st_size:
            size = lines.size_of(path, how.skip_bad)
            people = [] if size is None else lines.people(labels, size)
        return LabelledPhoto(path, name, size, people, str(labels))

    def _write(self, labels: LabelSet, new: NewLabels) -> None:
        for split, photos in labels.splits.items():
            (new.folder / "images" / split).mkdir(parents=True, exist_ok=True)
            for photo in photos:
                size = new.place(photo, f"images/{split}")
                if size is None:
                    continue
                target = new.folder / "labels" / split / Path(photo.name).with_suffix(".txt")
                new.claim(target, photo)
                rows = [self._line(person, size, new) for person in photo.people if not person.crowd]
                text = "".join(f"{row}\n" for row in rows if row)
                new.text(target.relative_to(new.folder).as_posix(), text)
        new.text("data.yaml", _yaml(new.meta, list(labels.splits)))

    def _line(self, person: LabelledPerson, size: Any, new: NewLabels) -> str:
        box = new.box(person, size)
        if box is None:
            new.lose("people without keypoints, box or outline")
            return ""
        corners = np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]])
        clipped = np.clip(corners, 0, [*size, *size])
        if not np.allclose(clipped, corners, atol=0.005):
            new.lose("parts of boxes outside their photo")
        values: List[float] = [
            *((clipped[:2] + clipped[2:]) / 2 / size),
            *((clipped[2:] - clipped[:2]) / size),
        ]
        keypoints = np.zeros((new.meta.num_keypoints, 3))
        for k, x, y, v in labelled_keypoints(person):
            if 0 <= x <= size[0] and 0 <= y <= size[1]:
                keypoints[k] = (x / size[0], y / size[1], v)
            else:
                new.lose("keypoints outside their photo")
        return " ".join(["0", *(f"{value:.9g}" for value in [*values, *keypoints.ravel().tolist()])])


def _check_label_files(splits: Dict[str, List[LabelledPhoto]]) -> None:
    """Refuse photos that all lack their label file: a photo without one has no people, but not all do."""
    sources = [photo.source for photos in splits.values() for photo in photos]
    if sources and not any(Path(source).is_file() for source in sources):
        raise ValueError(f"expected label files such as {sources[0]}, found none")


def _yaml(meta: KeypointMeta, splits: List[str]) -> str:
    """Return data.yaml; ``val`` is needed by ultralytics, so without one it names the photos of ``train``."""
    first = "train" if "train" in splits else splits[0]
    places = {"train": f"images/{first}", "val": f"images/{'val' if 'val' in splits else first}"}
    places.update({split: f"images/{split}" for split in splits if split not in places})
    content: Dict[str, Any] = {
        **places,
        "kpt_shape": [meta.num_keypoints, 3],
        "flip_idx": list(meta.flip_indices),
        "names": {0: "person"},
        "kpt_names": {0: list(meta.names)},
    }
    head = (
        "# Keypoints are x, y, visibility: 0 (not labelled), 1 (hidden) or 2 (visible).\n"
        f"# {counted(meta.num_keypoints, 'keypoint')} in the order of kpt_names.\n"
        "# Without path, ultralytics takes this file's folder.\n"
    )
    return head + yaml.safe_dump(content, sort_keys=False, default_flow_style=None, allow_unicode=True)
