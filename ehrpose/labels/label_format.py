"""What every label format can do: be recognized, read and written, and say what it cannot hold."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Callable, ClassVar, Dict, FrozenSet, List, Mapping, Optional, Tuple, Union

import numpy as np

from ehrpose.counted import counted
from ehrpose.datasets.converters.coco_folder import new_folder
from ehrpose.datasets.converters.labelled import LabelledPerson
from ehrpose.datasets.converters.skeleton_config import write_keypoints
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.labels.label_set import LabelSet, Reading
from ehrpose.labels.new_labels import NewLabels

# What a person may have: the word in tables and messages, and the number of it that a person has.
PERSON_FIELDS: Dict[str, Callable[[LabelledPerson], int]] = {
    "hidden keypoints": lambda p: int((p.keypoints[:, 2] == 1).sum()),
    "boxes": lambda p: int(p.box is not None),
    "outlines": lambda p: len(p.polygons),
    "masks": lambda p: int(p.mask is not None),
    "areas": lambda p: int(p.area is not None),
    "crowds": lambda p: int(p.crowd),
    "people without keypoints": lambda p: int(not p.crowd and not (p.keypoints[:, 2] > 0).any()),
    "ids": lambda p: int(p.id is not None),
    "track ids": lambda p: int(p.track_id is not None),
    "scores": lambda p: int(p.score is not None),
    "keypoint scores": lambda p: 0 if p.keypoint_scores is None else int((p.keypoints[:, 2] > 0).sum()),
}
# What a dataset may have besides.
SET_FIELDS = ("photo ids", "crowdIndex", "splits", "order of keypoints", "limbs", "mirror pairs")
FIELDS = (*PERSON_FIELDS, *SET_FIELDS)


class LabelFormat:
    """Base of the label formats, which are registered in LABEL_FORMATS by name.

    Attributes:
        title: The format in words, for the table of the docs.
        docs: What the format is and needs, one sentence.
        holds: Those of ``FIELDS`` that survive being written and read.
        can_write: Whether ``write`` works.
    """

    title: ClassVar[str] = ""
    docs: ClassVar[str] = ""
    holds: ClassVar[FrozenSet[str]] = frozenset()
    can_write: ClassVar[bool] = True

    def check(self, path: Union[str, Path]) -> Optional[str]:
        """Return why a path is not this format in one line, or None if it seems to be.

        Args:
            path: Existing file or folder.
        """
        raise NotImplementedError

    def read(
        self,
        path: Union[str, Path],
        keypoints: Union[KeypointMeta, Mapping[str, Any], None] = None,
        **options: Any,
    ) -> LabelSet:
        """Read labels.

        Args:
            path: File or folder.
            keypoints: The skeleton or its config; None: the file's own.
            options: Further fields of ``Reading``.

        Raises:
            FileNotFoundError: The path or a photo does not exist.
            ValueError: It is not this format, or a value is invalid; the message names the file and what was expected.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"file or folder not found: {path}")
        reason = self.check(path)
        if reason is not None:
            raise ValueError(f"{path}: {reason}")
        meta = None if keypoints is None else KeypointMeta.build(keypoints)
        return self._read(path, Reading(keypoints=meta, **options))

    def write(
        self, labels: LabelSet, path: Union[str, Path], symlink: bool = False, skip_bad: bool = False
    ) -> Dict[str, str]:
        """Write labels and photos to a new folder, whole or not at all; ``labels.losses`` says what was left out.

        The skeleton is written to ``keypoints.py`` in the folder.

        Args:
            labels: What to write.
            path: Folder to create; must be missing or empty.
            symlink: Link to the photos instead of copying them.
            skip_bad: Skip photos that cannot be used; False: raise an error at the first one.

        Returns:
            Name of each photo that was skipped to the reason.

        Raises:
            ImageReadError, ValueError: A photo cannot be used, or nobody is labelled.
            WriteError: The disk is full or fails.
        """
        if not self.can_write:
            raise ValueError(f"{self.title} can be read only; choose another format to write")
        if not any(True for _ in labels.people()):
            raise ValueError("no labelled person found in any image")
        with new_folder(Path(path)) as folder:
            new = NewLabels(folder, Path(path), labels.meta, symlink, skip_bad)
            self._write(labels, new)
            write_keypoints(_config(labels.meta), folder / "keypoints.py")
        labels.losses = [*losses(labels, self.holds), *new.losses()]
        return new.skipped

    def _read(self, path: Path, how: Reading) -> LabelSet:
        raise NotImplementedError

    def _write(self, labels: LabelSet, new: NewLabels) -> None:
        raise NotImplementedError


def _config(meta: KeypointMeta) -> Dict[str, Any]:
    """Return the skeleton's config without what is the default."""
    config = meta.to_dict()
    for key in ("order", "keypoint_colors", "limb_colors"):
        rest = {k: v for k, v in config.items() if k != key}
        if KeypointMeta.build(rest).to_dict()[key] == config[key]:
            config = rest
    return config


def losses(labels: LabelSet, holds: FrozenSet[str]) -> List[str]:
    """Return what a format cannot hold of the labels, one line each.

    Args:
        labels: The labels.
        holds: What the format holds, of ``FIELDS``.
    """
    counts: Counter[str] = Counter()
    for person in labels.people():
        for name, count in PERSON_FIELDS.items():
            if name not in holds:
                counts[name] += count(person)
    photos = labels.photos()
    if "photo ids" not in holds:
        counts["photo ids"] = sum(photo.id is not None for photo in photos)
    if "crowdIndex" not in holds:
        counts["crowdIndex"] = sum(photo.crowd_index is not None for photo in photos)
    if "splits" not in holds:
        counts["splits"] = len(labels.splits) if len(labels.splits) > 1 else 0
    return [f"{name}: {count}" for name, count in counts.items() if count]


def labelled_keypoints(person: LabelledPerson) -> List[Tuple[int, float, float, int]]:
    """Return index, x, y in px and visibility, 1 or 2, of each labelled keypoint."""
    return [(k, x, y, int(v)) for k, (x, y, v) in enumerate(np.asarray(person.keypoints).tolist()) if v > 0]


def people_text(count: int) -> str:
    """Return ``"1 person"`` or ``"2 people"``."""
    return counted(count, "person", "people")
