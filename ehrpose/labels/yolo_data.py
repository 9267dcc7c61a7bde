"""The data.yaml of YOLO-pose: skeleton, classes and where photos and labels are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import yaml

from ehrpose.datasets.converters.skeleton_config import guess_keypoints
from ehrpose.datasets.json_values import shown
from ehrpose.image_io import IMAGE_SUFFIXES
from ehrpose.keypoint_meta import KeypointMeta

_SPLITS = {"train": "train", "val": "val", "valid": "val", "test": "test"}


class YoloPhoto(NamedTuple):
    """A photo's path, its name below the folder of the split's photos, and the path of its label file."""

    path: Path
    name: str
    labels: Path


@dataclass(frozen=True)
class YoloData:
    """A data.yaml.

    Attributes:
        file: The file.
        content: What it holds.
        num_keypoints: K.
        num_values: Values of each keypoint, 2 or 3.
        classes: Names of the classes by number.
    """

    file: Path
    content: Mapping[str, Any]
    num_keypoints: int
    num_values: int
    classes: Mapping[int, str]

    @classmethod
    def read(cls, file: Path) -> YoloData:
        """Read a data.yaml.

        Raises:
            ValueError: It is not YAML, or not one of YOLO-pose.
        """
        try:
            content = yaml.safe_load(file.read_bytes())
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            line = " ".join(str(error).split())
            raise ValueError(f"{file} is not valid YAML: {line}") from error
        if not isinstance(content, Mapping) or "kpt_shape" not in content:
            raise ValueError(f"{file}: expected kpt_shape, as YOLO-pose's data.yaml has")
        shape = content["kpt_shape"]
        fits = isinstance(shape, list) and len(shape) == 2 and all(type(n) is int and n > 0 for n in shape)
        if not fits or shape[1] not in (2, 3):
            raise ValueError(f"{file}: expected kpt_shape [K, 2] or [K, 3], got {shown(shape)}")
        names = content.get("names", {0: "person"})
        names = dict(enumerate(names)) if isinstance(names, list) else names
        if not isinstance(names, Mapping) or not names or not all(type(i) is int for i in names):
            raise ValueError(f"{file}: expected a list or numbered mapping as names, got {shown(names)}")
        return cls(file, content, shape[0], shape[1], {i: str(name) for i, name in names.items()})

    def person_class(self, label: Optional[str]) -> int:
        """Return the number of the class of people.

        Raises:
            ValueError: It is unknown, or there are several and none is called person.
        """
        fitting = [i for i, name in self.classes.items() if label in (name, str(i))]
        if label is None:
            fitting = [
                i for i, name in self.classes.items() if name.casefold() == "person" or len(self.classes) == 1
            ]
        if not fitting:
            if label is not None and label.isdigit():  # some tools write numbers that names lacks
                return int(label)
            known = sorted(self.classes.values())
            raise ValueError(
                f"several classes, {known}; choose one with `label`" if label is None
                else f"no class {label!r}; available: {known}"
            )  # fmt: skip
        return fitting[0]

    def names(self) -> Optional[List[str]]:
        """Return the keypoints' names, None if the file has none."""
        names = self.content.get("kpt_names") or self.content.get("node_names")  # the latter is sleap-io's
        if isinstance(names, Mapping) and names:
            names = next(iter(names.values()))
        if not names:
            return None
        if (
            not isinstance(names, list)
            or len(names) != self.num_keypoints
            or len({*map(str, names)}) != len(names)
        ):
            raise ValueError(
                f"expected {self.num_keypoints} distinct names as kpt_names, as kpt_shape says, got {shown(names)}"
            )
        return [str(name) for name in names]

    def names_or(self, meta: KeypointMeta) -> List[str]:
        """Return the names, or else those of a skeleton, in its order.

        Raises:
            ValueError: The skeleton has another number of keypoints.
        """
        names = self.names()
        if names is None and meta.num_keypoints != self.num_keypoints:
            raise ValueError(
                f"kpt_shape says {self.num_keypoints} keypoints, without names; `keypoints` has {meta.num_keypoints}"
            )
        return names or list(meta.names)

    def keypoints(self) -> Dict[str, Any]:
        """Return a keypoint config with the file's names and mirror pairs.

        Raises:
            ValueError: The file does not name its keypoints, or its flip_idx is no mirror.
        """
        names = self.names()
        if names is None:
            raise ValueError(
                f"the file has no kpt_names, so its {self.num_keypoints} keypoints are unknown; give their names, in "
                f"the order of its columns, with `keypoints`"
            )
        config = guess_keypoints("person", names, self._limbs(names))
        flip = self.content.get("flip_idx")
        if flip is None:
            return config
        if not isinstance(flip, list) or sorted(map(str, flip)) != sorted(map(str, range(len(names)))):
            raise ValueError(f"expected each of 0 to {len(names) - 1} once as flip_idx, got {shown(flip)}")
        if any(flip[flip[i]] != i for i in range(len(flip))):
            raise ValueError(f"expected pairs that change places as flip_idx, got {shown(flip)}")
        if flip != list(range(len(flip))):  # some tools write this one whatever the skeleton is
            config["swap"] = [(names[i], names[j]) for i, j in enumerate(flip) if i < j]
        return config

    def _limbs(self, names: List[str]) -> List[Tuple[str, str]]:
        """Return the limbs that sleap-io writes as pairs of indices; none if they are not that."""
        pairs = self.content.get("skeleton")
        numbers = range(len(names))
        fits = isinstance(pairs, list) and all(
            isinstance(p, list) and len(p) == 2 and all(type(i) is int and i in numbers for i in p)
            for p in pairs
        )
        return [(names[i], names[j]) for i, j in pairs if i != j] if fits and pairs else []

    def photos(self, elsewhere: Optional[Path] = None) -> Dict[str, List[YoloPhoto]]:
        """Return the photos of each split.

        Args:
            elsewhere: Folder with the photos, if not where the file says.

        Raises:
            ValueError: A place that the file names does not exist, or there is none.
        """
        splits: Dict[str, List[YoloPhoto]] = {}
        used: Dict[Tuple[str, ...], str] = {}
        for key, split in _SPLITS.items():
            places = self.content.get(key)
            if not places:
                continue
            listed = [str(place) for place in (places if isinstance(places, list) else [places])]
            # Without photos for validation, many files name those of training twice.
            if used.setdefault(tuple(listed), split) != split:
                continue
            found = [photo for place in listed for photo in self._photos(place, elsewhere)]
            splits.setdefault(split, []).extend(found)
        if not any(splits.values()):
            raise ValueError("expected photos in the folders named train, val or test, got none")
        return splits

    def _root(self) -> Path:
        given = self.content.get("path")
        root = self.file.parent / str(given) if given else self.file.parent
        return root if root.is_dir() else self.file.parent

    def _photos(self, place: str, elsewhere: Optional[Path]) -> Iterator[YoloPhoto]:
        target = self._find(place)
        if target.is_file():
            lines = target.read_text(encoding="utf-8", errors="replace").splitlines()
            for line in filter(None, map(str.strip, lines)):
                path = self._find(line, elsewhere)
                yield YoloPhoto(path, _name(path), labels_of(self._stand_in(path, line)))
            return
        for path in sorted(target.rglob("*")):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield YoloPhoto(path, path.relative_to(target).as_posix(), labels_of(path))

    def _find(self, place: str, elsewhere: Optional[Path] = None) -> Path:
        """Return a place of the file: below ``path``, next to the file, or without a leading ``../`` or folder."""
        place = place.replace("\\", "/")
        short = place[3:] if place.startswith("../") else place[2:] if place.startswith("./") else place
        tail = short.split("/", 1)[-1]  # CVAT's lists begin with data/
        roots = [self._root(), self.file.parent]
        tries = [root / text for text in (place, short, tail) for root in roots]
        if elsewhere is not None:
            tries += [elsewhere / short, elsewhere / Path(short).name]
        for path in tries:
            if path.exists():
                return path
        raise ValueError(f"expected a folder, list or photo at {place}, which is not below {self._root()}")

    def _stand_in(self, path: Path, line: str) -> Path:
        """Return the path that a photo kept elsewhere would have next to the labels."""
        inside = self.file.parent in path.parents or self._root() in path.parents
        return path if inside else self._root() / line


def labels_of(photo: Path) -> Path:
    """Return a photo's label file: its last folder ``images`` becomes ``labels``."""
    parts = list(photo.parts)
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts).with_suffix(".txt")


def _name(path: Path) -> str:
    """Return a listed photo's name below its folder ``images`` and split."""
    parts = path.parts
    places = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    tail = parts[places[-1] + 1 :] if places else parts[-1:]
    return "/".join(tail[1:] if len(tail) > 1 and tail[0].lower() in _SPLITS else tail)


def find_yaml(path: Path) -> Optional[Path]:
    """Return the YAML file itself, or the first of a folder that has kpt_shape; None without any."""
    suffixes = (".yaml", ".yml")
    if path.is_file():
        return path if path.suffix.lower() in suffixes else None
    found = sorted(file for file in path.glob("*") if file.suffix.lower() in suffixes and file.is_file())
    for file in found:
        if b"kpt_shape" in file.read_bytes():
            return file
    return found[0] if found else None
