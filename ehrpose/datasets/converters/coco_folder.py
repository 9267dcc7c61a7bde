"""Writing a dataset as a COCO folder: photos and person_keypoints_{train,val}2017.json."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.datasets.coco_fields import box_around
from ehrpose.datasets.coco_masks import mask_area
from ehrpose.datasets.converters.labelled import LabelledPerson, LabelledPhoto
from ehrpose.file_sets import put_folder_in_place
from ehrpose.files import explained, make_parent, partial_path, remove_stale, write_text
from ehrpose.image_io import ImageReadError, read_image
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import AREA_OF_BOX
from ehrpose.progress import Progress


@contextlib.contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder next to ``out`` to fill; it becomes ``out`` if all goes well, and is removed otherwise.

    What a killed run left there is removed first.

    Raises:
        ValueError: ``out`` exists and is not empty, or is a file.
        WriteError: The disk is full or fails.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} already exists and is not empty: remove it or choose another `out`")
    make_parent(out)
    remove_stale(out.parent)
    partial = partial_path(out)
    try:
        with explained(out, partial):
            partial.mkdir()
            yield partial
            put_folder_in_place(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def category(meta: KeypointMeta) -> dict[str, Any]:
    """Return the COCO category of a person with this skeleton."""
    return {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(meta.names),
        "skeleton": [[i + 1, j + 1] for i, j in meta.skeleton],
    }


def write_annotations(
    folder: Path, split: str, meta: KeypointMeta, images: list, annotations: list, description: str
) -> None:
    """Write ``annotations/person_keypoints_{split}2017.json`` in a folder."""
    path = folder / "annotations" / f"person_keypoints_{split}2017.json"
    content = {
        "info": {"description": description, "version": "1.0"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [category(meta)],
    }
    write_text(path, json.dumps(content))


def split_photos(
    photos: Sequence[LabelledPhoto], val_fraction: float, seed: int
) -> dict[str, list[LabelledPhoto]]:
    """Return the photos of ``train`` and, if there are any, ``val``, each sorted by name.

    Args:
        photos: All photos.
        val_fraction: Fraction of the photos for validation, 0 to below 1; at least one photo unless it is 0.
        seed: Seed of the split; the same seed and names always yield the same split.

    Raises:
        ValueError: The fraction is out of range, or there are too few photos.
    """
    if not 0 <= val_fraction < 1:
        raise ValueError(f"`val_fraction` must be at least 0 and below 1, got {val_fraction}")
    ordered = sorted(photos, key=lambda photo: photo.name)
    count = max(1, round(val_fraction * len(ordered))) if val_fraction else 0
    if len(ordered) <= count:
        raise ValueError(f"too few photos, {len(ordered)}, for `val_fraction` {val_fraction}")
    chosen = set(np.random.default_rng(seed).permutation(len(ordered))[:count].tolist())
    parts = {"train": [photo for i, photo in enumerate(ordered) if i not in chosen]}
    if chosen:
        parts["val"] = [photo for i, photo in enumerate(ordered) if i in chosen]
    return parts


class CocoFolderWriter:
    """Writes labelled photos, one split at a time.

    Attributes:
        skipped: Name of each skipped photo to the reason.

    Args:
        folder: Existing folder.
        meta: The skeleton.
        symlink: Link to the photos instead of copying them.
        skip_bad: Skip photos that cannot be used; False: raise an error at the first one.
        keep_ids: Keep the ids of photos and people where a split's are distinct whole numbers above 0.
    """

    def __init__(
        self,
        folder: Path,
        meta: KeypointMeta,
        symlink: bool = False,
        skip_bad: bool = False,
        keep_ids: bool = False,
    ):
        self.folder = folder
        self.meta = meta
        self.symlink = symlink
        self.skip_bad = skip_bad
        self.skipped: dict[str, str] = {}
        self.keep_ids = keep_ids
        self._next_image = 1
        self._next_annotation = 1

    def write(self, split: str, photos: Sequence[LabelledPhoto], description: str) -> tuple[int, int]:
        """Write one split; return the numbers of its photos and people.

        Raises:
            ImageReadError, ValueError: A photo cannot be used, and ``skip_bad`` is False.
        """
        images: list[dict] = []
        annotations: list[dict] = []
        keep_photos = self.keep_ids and are_own_ids([photo.id for photo in photos])
        keep_people = self.keep_ids and are_own_ids([p.id for photo in photos for p in photo.people])
        with Progress(len(photos), split) as progress:
            for photo in photos:
                progress.step()
                try:
                    width, height = place_photo(
                        photo, self.folder / f"{split}2017" / photo.name, self.symlink
                    )
                except (ImageReadError, ValueError) as error:
                    if not self.skip_bad:
                        raise
                    self.skipped[photo.name] = str(error)
                    continue
                image_id = photo.id if keep_photos else self._next_image
                image = {"id": image_id, "file_name": photo.name, "width": width, "height": height}
                if photo.crowd_index is not None:
                    image["crowdIndex"] = photo.crowd_index
                images.append(image)
                for person in photo.people:
                    annotation = self._annotate(person, width, height, image_id)
                    if annotation is not None:
                        annotations.append({**annotation, "id": person.id} if keep_people else annotation)
                self._next_image += 1
        (self.folder / f"{split}2017").mkdir(exist_ok=True)
        write_annotations(self.folder, split, self.meta, images, annotations, description)
        return len(images), len(annotations)

    def _annotate(
        self, person: LabelledPerson, width: int, height: int, image_id: Any
    ) -> dict[str, Any] | None:
        """Return the COCO annotation; None if nothing of the person is labelled."""
        outline = person.mask or person.polygons
        box = person.box or box_around(person.keypoints.ravel().tolist(), outline, (width, height))
        if box is None:
            return None
        labelled = person.keypoints[:, 2] > 0
        keypoints = np.where(labelled[:, None], person.keypoints, 0)
        annotation = {
            "id": self._next_annotation,
            "image_id": image_id,
            "category_id": 1,
            "keypoints": [
                value for x, y, v in keypoints.tolist() for value in (round(x, 2), round(y, 2), int(v))
            ],
            "num_keypoints": int(labelled.sum()),
            "bbox": [round(float(value), 2) for value in box],
            "area": round(person.area or mask_area(outline) or AREA_OF_BOX * box[2] * box[3], 2),
            "iscrowd": int(person.crowd),
            "segmentation": person.mask or [list(map(float, polygon)) for polygon in person.polygons],
        }
        for key, value in (("track_id", person.track_id), ("score", person.score)):
            if value is not None:
                annotation[key] = value
        self._next_annotation += 1
        return annotation


def are_own_ids(ids: Sequence[Any]) -> bool:
    """Return whether ids may be kept in a COCO file: distinct whole numbers above 0, which evaluators agree about."""
    return all(type(i) is int and i > 0 for i in ids) and len(set(ids)) == len(ids)


def place_photo(photo: LabelledPhoto, target: Path, symlink: bool = False) -> tuple[int, int]:
    """Copy or link the photo to its place and return (width, height) as it is read, upright.

    Args:
        photo: The photo.
        target: The new file; missing folders are created.
        symlink: Link to the photo instead of copying it.

    Raises:
        ImageReadError, ValueError: The photo cannot be read, does not exist, or has another size than the labels say.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if photo.content is not None and not photo.path.is_file():
        target.write_bytes(photo.content)
    elif not photo.path.is_file():
        raise ValueError(f"{photo.source}: photo {photo.path} does not exist")
    elif symlink:
        target.symlink_to(photo.path.resolve())
    else:
        shutil.copyfile(photo.path, target)
    try:
        height, width = read_image(target).shape[:2]
        _check_size(photo, (width, height))
    except (ImageReadError, ValueError):
        target.unlink()
        raise
    return width, height


def _check_size(photo: LabelledPhoto, size: tuple[int, int]) -> None:
    """Raise an error if the labels are for another size, unless they give a turned photo's size as it is stored."""
    if photo.size is None or photo.size == size:
        return
    message = (
        f"{photo.source}: labelled on a photo of {photo.size[0]} x {photo.size[1]} px, but {photo.path} "
        f"has {size[0]} x {size[1]} px"
    )
    stored = photo.path if photo.path.is_file() else photo.content or b""
    if photo.size != size[::-1] or read_image(stored, apply_exif=False).shape[1::-1] != photo.size:
        raise ValueError(f"{message}: was it resized or rotated since?")
    points = [p.keypoints[p.keypoints[:, 2] > 0, :2] for p in photo.people]
    labels = np.concatenate([np.zeros((0, 2)), *points])
    if (labels <= size).all() and not (labels <= photo.size).all():
        return
    raise ValueError(
        f"{message} upright: its EXIF turns it, and its labels do not show for which of the two they are; save the "
        f"photo upright, or give the size that was labelled"
    )
