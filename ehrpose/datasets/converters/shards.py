"""A COCO folder in a few files: photos made small, packed with their labels in tar files of a limited size.

For machines that take few files, or little data. ``shards.json`` lists the files with their digests, so a copy that is
not whole is noticed before training.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import cv2

from ehrpose.datasets.coco_json import load_json
from ehrpose.datasets.converters.coco_folder import new_folder
from ehrpose.datasets.converters.scaled_labels import scaled_annotation
from ehrpose.datasets.transforms.loading import LoadImage
from ehrpose.files import write_text
from ehrpose.image_io import ImageReadError
from ehrpose.progress import Progress

INDEX = "shards.json"
_FORMAT = 1
# A tar file has a block before each member, and is padded.
_BLOCK, _END = 512, 10240


@dataclass
class Packed:
    """What was packed.

    Attributes:
        photos: Number of photos.
        people: Number of annotations.
        shards: Name and bytes of each tar file.
        skipped: Name of each skipped photo to the reason.
    """

    photos: int = 0
    people: int = 0
    shards: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def pack_photos(
    ann_file: Path,
    photo_folder: Path,
    out: Path,
    side: int = 320,
    quality: int = 80,
    max_mib: float = 60.0,
    image_ids: Sequence[int] | None = None,
    skip_bad: bool = False,
) -> Packed:
    """Pack the photos that have a labelled keypoint; nothing appears until all is done.

    Args:
        ann_file: JSON in COCO's format.
        photo_folder: Folder of its photos; its name is kept.
        out: Folder to create; must be missing or empty.
        side: Photos whose shorter side is longer are made smaller, to this, px; the labels follow.
        quality: JPEG quality, 1 to 100.
        max_mib: Largest size of a tar file, MiB.
        image_ids: Pack only these photos; None: all.
        skip_bad: Leave out photos that cannot be used; False: they are an error.

    Raises:
        FileNotFoundError: The JSON does not exist.
        ImageReadError: A photo cannot be used.
        ValueError: An argument or the JSON is not as expected, or a photo is larger than a shard.
        WriteError: The disk is full or fails.
    """
    if side < 32 or not 1 <= quality <= 100 or max_mib <= 0:
        raise ValueError(
            f"expected side from 32, quality from 1 to 100 and max_mib above 0, got {side}, {quality} and {max_mib}"
        )
    data = load_json(ann_file)
    people = _people_of_photos(data, ann_file)
    images = _chosen(data, people, image_ids, ann_file)
    result = Packed()
    with new_folder(out) as folder, Progress(len(images), "photos") as progress:
        writer = _Writer(folder, int(max_mib * 2**20), result)
        for image in images:
            progress.step()
            try:
                packed = _shrunk(image, people[image["id"]], photo_folder, side, quality)
            except ImageReadError as error:
                if not skip_bad:
                    raise
                result.skipped[str(image["file_name"])] = str(error)
                continue
            writer.add(*packed)
        writer.close()
        index = {
            "format": _FORMAT,
            "photos": photo_folder.name,
            "labels": ann_file.name,
            "side": side,
            "quality": quality,
            "categories": data.get("categories", []),
            "shards": writer.digests,
        }
        write_text(folder / INDEX, json.dumps(index, indent=1) + "\n")
    return result


def unpack_photos(shards: Path, out: Path) -> int:
    """Unpack the folder of ``pack_photos`` as a COCO folder; return the number of photos.

    Args:
        shards: The folder with the tar files.
        out: Folder to create; must be missing or empty. Nothing appears until all is done.

    Raises:
        FileNotFoundError: There is no ``shards.json``, or a file that it lists is missing.
        ValueError: A file is damaged or not one of ``pack_photos``.
        WriteError: The disk is full or fails.
    """
    index = _read_index(shards / INDEX)
    images: list[dict] = []
    annotations: list[dict] = []
    with new_folder(out) as folder, Progress(len(index["shards"]), "shards") as progress:
        photo_folder = folder / index["photos"]
        photo_folder.mkdir()
        for name, digest in index["shards"].items():
            content = _checked(shards / name, digest)
            for member, data in _members(content, name):
                if member == "labels.json":
                    part = json.loads(data)
                    images += part["images"]
                    annotations += part["annotations"]
                else:
                    photo_folder.joinpath(member).write_bytes(data)
            progress.step()
        # Tells later which shards these are.
        write_text(folder / INDEX, json.dumps(index, indent=1) + "\n")
        labels = {"images": images, "annotations": annotations, "categories": index["categories"]}
        write_text(folder / "annotations" / index["labels"], json.dumps(labels))
    return len(images)


def are_unpacked(shards: Path, folder: Path) -> bool:
    """Return whether ``folder`` has what ``unpack_photos`` makes of these shards.

    Raises:
        FileNotFoundError: There is no ``shards.json``.
        ValueError: It is damaged, or ``folder`` has other photos.
    """
    if not folder.exists():
        return False
    if not (folder / INDEX).is_file() or _read_index(folder / INDEX) != _read_index(shards / INDEX):
        raise ValueError(
            f"{folder} does not have the photos of {shards}: remove it, or choose another work dir"
        )
    return True


class _Writer:
    """Writes shards; their labels come last, when they are known."""

    def __init__(self, folder: Path, limit: int, result: Packed):
        self.folder, self.limit, self.result = folder, limit, result
        self.digests: dict[str, str] = {}
        self._photos: list[tuple[str, bytes]] = []
        self._labels: dict[str, list] = {"images": [], "annotations": []}
        self._size = 0
        self._names: set[str] = set()

    def add(self, image: dict, annotations: list[dict], content: bytes) -> None:
        name = image["file_name"]
        if name in self._names:
            raise ValueError(
                f"two photos would be called {name}: pack them from one folder, without subfolders"
            )
        self._names.add(name)
        labels = len(json.dumps([image, annotations]))
        size = len(content) + 2 * _BLOCK + labels
        if size + _END + 3 * _BLOCK > self.limit:
            raise ValueError(
                f"photo {name} takes {size / 2**20:.2f} MiB: expected less than a shard, set max_mib"
            )
        if self._size + size + _END + 3 * _BLOCK > self.limit:
            self.close()
        self._photos.append((name, content))
        self._labels["images"].append(image)
        self._labels["annotations"] += annotations
        self._size += size
        self.result.photos += 1
        self.result.people += len(annotations)

    def close(self) -> None:
        """Write the shard."""
        if not self._photos:
            return
        name = f"photos-{len(self.digests):03d}.tar"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for member, content in [*self._photos, ("labels.json", json.dumps(self._labels).encode())]:
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        content = packed.getvalue()
        (self.folder / name).write_bytes(content)
        self.digests[name] = hashlib.sha256(content).hexdigest()
        self.result.shards[name] = len(content)
        self._photos, self._labels, self._size = [], {"images": [], "annotations": []}, 0


def _people_of_photos(data: Mapping[str, Any], ann_file: Path) -> dict[Any, list[dict]]:
    for key in ("images", "annotations"):
        if not isinstance(data.get(key), list):
            raise ValueError(
                f"{ann_file}: expected COCO format with a list {key!r}, got the keys {sorted(data)}"
            )
    people: dict[Any, list[dict]] = {}
    for ann in data["annotations"]:
        if not isinstance(ann, Mapping) or "image_id" not in ann:
            raise ValueError(f"{ann_file}: expected annotations with image_id, got {str(ann)[:80]}")
        people.setdefault(ann["image_id"], []).append(dict(ann))
    return people


def _chosen(
    data: Mapping[str, Any], people: Mapping[Any, list[dict]], wanted: Sequence[int] | None, ann_file: Path
) -> list[dict]:
    known = {}
    for image in data["images"]:
        missing = {"id", "file_name", "width", "height"} - set(image)
        if missing:
            raise ValueError(f"{ann_file}: an image lacks {sorted(missing)[0]!r}: {str(image)[:80]}")
        known[image["id"]] = image
    lost = [i for i in wanted or () if i not in known]
    if lost:
        raise ValueError(
            f"{ann_file}: {len(lost)} of the {len(wanted or ())} image_ids not found, e.g. {lost[0]}"
        )
    is_wanted = None if wanted is None else set(wanted)
    chosen = [
        image
        for i, image in known.items()
        if (is_wanted is None or i in is_wanted)
        and any(any(v > 0 for v in (ann.get("keypoints") or ())[2::3]) for ann in people.get(i, ()))
    ]
    if not chosen:
        raise ValueError(f"{ann_file}: none of its photos has a labelled keypoint")
    return chosen


def _shrunk(
    image: Mapping[str, Any], people: Sequence[dict], folder: Path, side: int, quality: int
) -> tuple[dict, list[dict], bytes]:
    """Return a photo's entry, its annotations, both of the new size, and the JPEG."""
    size = (int(image["width"]), int(image["height"]))
    factor = min(1.0, side / min(size))
    new = (max(1, round(size[0] * factor)), max(1, round(size[1] * factor)))
    labels = [scaled_annotation(ann, size, new) for ann in people]
    item = {
        "img_path": str(folder / image["file_name"]),
        "width": size[0],
        "height": size[1],
        "raw_anns": people,
    }
    pixels = LoadImage().transform(item)["img"]
    if new != size:
        pixels = cv2.resize(pixels, new, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    name = f"{PurePosixPath(str(image['file_name'])).stem}.jpg"
    return {**image, "file_name": name, "width": new[0], "height": new[1]}, labels, jpeg


def _read_index(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} not found: expected a folder of tools/dataset_converters/pack_photos.py"
        )
    try:
        index = json.loads(path.read_bytes())
        names = [index["photos"], index["labels"], *index["shards"]]
        is_known = index["format"] == _FORMAT and isinstance(index["shards"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if not is_known:
        raise ValueError(f"{path}: expected format {_FORMAT}, got {index['format']}: update ehrpose")
    bad = [name for name in names if not _is_plain(name)]
    if bad:
        raise ValueError(f"{path}: expected plain file names, got {bad[0]!r}")
    return index


def _is_plain(name: Any) -> bool:
    return isinstance(name, str) and name not in ("", ".", "..") and not set(name) & set("/\\:\0")


def _checked(path: Path, digest: str) -> bytes:
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found, but {INDEX} lists it: copy all files of the folder")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"{path} is damaged: its SHA-256 is not that of {INDEX}; copy it again")
    return content


def _members(content: bytes, shard: str) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is None or not _is_plain(member.name):
                raise ValueError(f"{shard}: expected plain files, got {member.name!r}")
            yield member.name, file.read()
