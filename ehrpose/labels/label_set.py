"""A labelled dataset between reading it in one format and writing it in another."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Collection, Dict, Iterator, List, Mapping, Optional

from ehrpose.datasets.converters.coco_folder import split_photos
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto, check_unique
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.keypoint_meta import KeypointMeta

# Score from which a predicted keypoint is taken as labelled, as in drawing.
KPT_THR = 0.3


@dataclass
class LabelSet:
    """Photos with labelled people, and their skeleton.

    Attributes:
        meta: The skeleton; the keypoints of all people are in its order.
        splits: Name of each split (``train``, ``val``, ``test``) to its photos; coordinates are px, upright.
        notes: What the user should know about the files read, one line each.
        losses: What the last format written could not hold, by name and count, one line each.
    """

    meta: KeypointMeta
    splits: Dict[str, List[LabelledPhoto]]
    notes: List[str] = field(default_factory=list)
    losses: List[str] = field(default_factory=list)

    def photos(self) -> List[LabelledPhoto]:
        """Return the photos of all splits."""
        return [photo for photos in self.splits.values() for photo in photos]

    def people(self) -> Iterator[LabelledPerson]:
        """Yield the people of all photos."""
        for photo in self.photos():
            yield from photo.people

    def split_again(self, val_fraction: float, seed: int = 0) -> None:
        """Divide all photos into ``train`` and ``val``, whatever the splits were.

        Args:
            val_fraction: Fraction of the photos for validation, 0 to below 1; at least one photo unless it is 0.
            seed: Seed of the split; the same seed and names always yield the same split.

        Raises:
            ValueError: The fraction is out of range, there are too few photos, or two have one name.
        """
        photos = self.photos()
        check_unique(photos)
        self.splits = split_photos(photos, val_fraction, seed)


@dataclass(frozen=True)
class Reading:
    """How labels are to be read.

    Attributes:
        keypoints: The skeleton; None: the file's own.
        photos: Folder with the photos, if it is not where the labels are.
        rename: Keypoint in the file to keypoint name, where they differ.
        ignore: Labels in the file that are left out.
        label: Label or category of the people, if several have keypoints.
        skip_bad: A photo that is not found is not an error; writing skips and names it.
        kpt_thr: Score from which a predicted keypoint counts as labelled, 0 to 1.
    """

    keypoints: Optional[KeypointMeta] = None
    photos: Optional[Path] = None
    rename: Mapping[str, str] = field(default_factory=dict)
    ignore: Collection[str] = ()
    label: Optional[str] = None
    skip_bad: bool = False
    kpt_thr: float = KPT_THR

    def search(self, *folders: Path) -> PhotoSearch:
        """Return the search for photos in ``photos``, or else in the given folders."""
        places = [self.photos] if self.photos is not None else list(folders)
        return _LenientSearch(places) if self.skip_bad else PhotoSearch(places)

    def name_of(self, label: str) -> str:
        """Return the keypoint's name of a label in the file."""
        return self.rename.get(label, label)

    def index_of(self, label: str, meta: KeypointMeta) -> Optional[int]:
        """Return the index of a label in the skeleton; None if it is to be left out.

        Raises:
            ValueError: The label is unknown.
        """
        if label in self.ignore:
            return None
        name = self.name_of(label)
        if name not in meta.names:
            raise ValueError(
                f"unknown keypoint {label!r}; keypoints of {meta.dataset_name!r}: {list(meta.names)}. Use "
                f"`rename` {label}=NAME or `ignore` {label}"
            )
        return meta.names.index(name)

    def columns(self, labels: Collection[str], meta: KeypointMeta) -> List[Optional[int]]:
        """Return the skeleton's index of each of a file's columns; None for those left out.

        Raises:
            ValueError: A label is unknown, or two have one name.
        """
        columns = [self.index_of(label, meta) for label in labels]
        used = [column for column in columns if column is not None]
        if len(set(used)) < len(used):
            raise ValueError(f"expected keypoints that are all distinct, got {list(labels)}")
        return columns

    def meta_or(self, config: Any) -> KeypointMeta:
        """Return ``keypoints``, or else the skeleton of the config that ``config()`` makes."""
        return self.keypoints if self.keypoints is not None else KeypointMeta.build(config())


class _LenientSearch(PhotoSearch):
    """Finds photos; one that is missing gets a path where none is, for the writer to skip."""

    def find(self, name: str) -> Path:
        try:
            return super().find(name)
        except FileNotFoundError:
            return self.folders[0] / self.name(name)
