"""Photos in one folder per class, and ImageNet in its own layout."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ehrpose.counted import counted
from ehrpose.datasets.classification.label_dataset import PhotoLabelDataset
from ehrpose.image_io import IMAGE_SUFFIXES
from ehrpose.registry import DATASETS

# Where ImageNet's photos are: as prepared by most, and as in the archive of its challenge.
_IMAGENET_FOLDERS = ("", "ILSVRC/Data/CLS-LOC")
_IMAGENET_SOURCE = "register at https://image-net.org and unpack ILSVRC2012"


@DATASETS.register_module()
class ImageFolder(PhotoLabelDataset):
    """Photos in ``data_root/folder/CLASS/``, also deeper; the classes are the folders' names, sorted.

    Args:
        data_root: Folder of the data set.
        folder: Folder below it, whose subfolders are the classes.
        classes: Names of the classes in order: a list, a text file with one per line, or a folder whose subfolders are
            the classes, the last two relative to ``data_root``. A test set names the training folder here, so that a
            class without a test photo shifts no label. None: the subfolders of ``folder``.
        list_file: Text file with one photo per line, relative to ``data_root`` like the file itself, and optionally
            its class, by name or number from 0; None: all photos of ``folder``.
        kwargs: Arguments of PhotoLabelDataset: ``pipeline``, ``test_mode``, ``indices``, ``on_bad_image``, ...

    Raises:
        FileNotFoundError: A folder or file does not exist.
        ValueError: There are no classes or photos, or a photo's class is unknown.
    """

    dataset_name = "image_folder"

    def __init__(
        self,
        data_root: str,
        folder: str = "train",
        classes: Sequence[str] | str | None = None,
        list_file: str | None = None,
        **kwargs: Any,
    ):
        self.folder, self.list_file = folder, list_file
        self._wanted_classes = classes
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """List the photos, one item each."""
        photos = self._photos()
        self.classes = self._shown_names(self._folder_names)
        if not photos:
            raise ValueError(f"no photos in {self._folder}: expected files such as CLASS/photo.jpg")
        return [
            {"img_id": number, "img_path": path, "gt_label": label}
            for number, (path, label) in enumerate(photos, start=1)
        ]

    @property
    def _folder(self) -> str:
        return os.path.join(self.data_root, self.folder)

    def _shown_names(self, folders: Sequence[str]) -> tuple[str, ...]:
        """Return the classes' names for people."""
        return tuple(folders)

    def _photos(self) -> list[tuple[str, int]]:
        """Return path and label of each photo, and set ``_folder_names``."""
        self._folder_names = self._class_folders()
        if self.list_file is not None:
            return self._listed()
        return self._found_in_folders()

    def _class_folders(self) -> tuple[str, ...]:
        given = self._wanted_classes
        if isinstance(given, str):
            place = os.path.join(self.data_root, given)
            return read_names(place) if os.path.isfile(place) else class_folders(place)
        return class_folders(self._folder) if given is None else tuple(given)

    def _found_in_folders(self) -> list[tuple[str, int]]:
        number = {name: label for label, name in enumerate(self._folder_names)}
        own = class_folders(self._folder)
        unknown = [name for name in own if name not in number]
        if unknown:
            raise ValueError(
                f"{self._folder}: {counted(len(unknown), 'folder')} of no class, e.g. {unknown[0]}: expected "
                f"only names among {counted(len(number), 'class', 'classes')}, such as {self._folder_names[0]}"
            )
        photos = [(path, number[name]) for name in own for path in photos_below(Path(self._folder, name))]
        empty = len(own) - len({label for _, label in photos})
        if empty:
            self._warn(f"{self._folder}: {counted(empty, 'class', 'classes')} without a photo", logging.INFO)
        return photos

    def _listed(self) -> list[tuple[str, int]]:
        place = os.path.join(self.data_root, str(self.list_file))
        number = {name: label for label, name in enumerate(self._folder_names)}
        photos = []
        for line in read_names(place):
            path, label = _photo_and_class(line, number)
            if label is None:
                raise ValueError(
                    f"{place}: {line!r}: expected PHOTO, in a folder named after its class, or PHOTO CLASS with a "
                    f"class's name or a number below {len(number)}"
                )
            photos.append((os.path.join(self.data_root, path), label))
        return photos


@DATASETS.register_module()
class ImageNet(ImageFolder):
    """ImageNet of the challenge of 2012, in its own layout.

    ``data_root`` has ``train/nXXXXXXXX/*.JPEG`` and ``val/``, or ``ILSVRC/Data/CLS-LOC/`` has them. The validation
    photos are in class folders, or lie side by side with ``LOC_val_solution.csv`` in ``data_root``. Classes are ordered
    by their WordNet ids; ``LOC_synset_mapping.txt``, if it is there, gives them names.

    Args:
        data_root: Folder of the data set.
        split: ``"train"`` or ``"val"``.
        list_file: See ImageFolder: other splits, made by ``tools/dataset_converters/split_imagenet.py``.
        kwargs: Further arguments of ImageFolder.

    Raises:
        FileNotFoundError: Photos or labels are not there.
        ValueError: ``split`` is unknown, or see ImageFolder.
    """

    dataset_name = "imagenet"

    def __init__(self, data_root: str, split: str = "train", list_file: str | None = None, **kwargs: Any):
        if split not in ("train", "val"):
            raise ValueError(f"split must be 'train' or 'val', got {split!r}; other splits are list files")
        self.split = split
        super().__init__(data_root, split, None, list_file, **kwargs)

    def full_init(self) -> None:
        """Find the folder of the photos, and list them."""
        if not self._fully_initialized:
            self.folder = self._find(self.split)
            self._wanted_classes = self._find("train")
        super().full_init()

    def _find(self, split: str) -> str:
        folders = [os.path.join(folder, split) for folder in _IMAGENET_FOLDERS]
        found = [folder for folder in folders if os.path.isdir(os.path.join(self.data_root, folder))]
        if not found:
            raise FileNotFoundError(
                f"ImageNet not found: neither {' nor '.join(os.path.join(self.data_root, f) for f in folders)} "
                f"exists: {_IMAGENET_SOURCE}, and set data_root"
            )
        return found[0]

    def _shown_names(self, folders: Sequence[str]) -> tuple[str, ...]:
        path = os.path.join(self.data_root, "LOC_synset_mapping.txt")
        names = dict(line.split(" ", 1) for line in read_names(path)) if os.path.isfile(path) else {}
        return tuple(names.get(folder, folder) for folder in folders)

    def _found_in_folders(self) -> list[tuple[str, int]]:
        if self.split == "train" or any(entry.is_dir() for entry in os.scandir(self._folder)):
            return super()._found_in_folders()
        path = os.path.join(self.data_root, "LOC_val_solution.csv")
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f"{self._folder} has no class folders, and {path} does not exist: put the photos into folders of their "
                "classes, or the file with their labels there"
            )
        number = {name: label for label, name in enumerate(self._folder_names)}
        photos = []
        with open(path, newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                label = number.get((row.get("PredictionString") or "").split(" ")[0])
                if label is None or not row.get("ImageId"):
                    raise ValueError(f"{path}: expected ImageId and PredictionString with a class, got {row}")
                photos.append((os.path.join(self._folder, f"{row['ImageId']}.JPEG"), label))
        return photos


def class_folders(folder: str) -> tuple[str, ...]:
    """Return the names of a folder's subfolders, sorted.

    Raises:
        FileNotFoundError: The folder does not exist.
        ValueError: It has no subfolder.
    """
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"folder of classes not found: {folder}; check data_root and folder")
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise ValueError(f"{folder}: expected one folder per class, got none")
    return tuple(names)


def photos_below(folder: Path) -> list[str]:
    """Return the photos in a folder and below it, sorted by path."""
    return sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")
    )


def read_names(path: str | os.PathLike) -> tuple[str, ...]:
    """Return the lines of a text file that are not empty.

    Raises:
        FileNotFoundError: It does not exist.
        ValueError: It is not text, or has none.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f"list not found: {path}")
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file: {error}") from None
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise ValueError(f"{path} is empty: expected one entry per line")
    return names


def _photo_and_class(line: str, number: dict[str, int]) -> tuple[str, int | None]:
    """Return path and label in a line of a list; the label is None if it has none that is known."""
    path, _, name = line.rpartition(" ")
    if path and name in number:
        return path, number[name]
    if path and name.isdigit():
        return path, int(name) if int(name) < len(number) else None
    if not line.lower().endswith(IMAGE_SUFFIXES):
        return line, None
    folder = next((part for part in reversed(Path(line).parts[:-1]) if part in number), None)
    return line, None if folder is None else number[folder]
