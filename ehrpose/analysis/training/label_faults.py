"""Faults planted into a copy of a data set, and how many of them a check of the data names.

Eight kinds, all at random: people are drawn from those with at least 8 labelled keypoints, photos from all, and none is
chosen twice. The copy has links to the photos; only changed photos are written.
"""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ehrpose.data_check.coco_source import find_label_files, read_labels, skeleton_of
from ehrpose.data_check.findings import as_record, key_of
from ehrpose.data_check.kinds import find_all
from ehrpose.data_check.photo_scan import PhotoFacts, scan_photos
from ehrpose.files import write_bytes, write_text
from ehrpose.image_io import read_image

_LEAST_KEYPOINTS = 8
_LABELS = "annotations/person_keypoints_{}2017.json"


class Plant(NamedTuple):
    """A planted fault: what was done, the kinds of findings that name it, its split, photo and person (None: photo)."""

    fault: str
    kinds: tuple[str, ...]
    split: str
    photo: str
    person: Any = None


class _Copy:
    """A copy of a COCO folder in memory, and the photos and people that have no fault yet."""

    def __init__(self, data: Path, out: Path, seed: int):
        self.data, self.out, self.rng = data, out, np.random.default_rng(seed)
        self.content = {
            split: json.loads((data / _LABELS.format(split)).read_text(encoding="utf-8"))
            for split in ("train", "val")
        }
        self.flip = skeleton_of(self.content["train"]).flip_indices
        self.used: set[Any] = set()
        self.by_photo: dict[Any, list[dict]] = {}
        for ann in self.content["train"]["annotations"]:
            self.by_photo.setdefault(ann["image_id"], []).append(ann)
        self.images = {image["id"]: image for image in self.content["train"]["images"]}

    def take_photo(self) -> dict:
        """Return a photo of train without a fault."""
        free = [image_id for image_id in self.images if image_id not in self.used]
        chosen = free[int(self.rng.integers(len(free)))]
        self.used.add(chosen)
        return self.images[chosen]

    def take_person(self) -> tuple[dict, dict]:
        """Return a person of train with enough keypoints, and its photo, which has no fault yet."""
        anns = self.content["train"]["annotations"]
        while True:
            ann = anns[int(self.rng.integers(len(anns)))]
            count = sum(v > 0 for v in ann["keypoints"][2::3])
            if count >= _LEAST_KEYPOINTS and not ann.get("iscrowd") and ann["image_id"] not in self.used:
                self.used.add(ann["image_id"])
                return ann, self.images[ann["image_id"]]

    def new_id(self, split: str, key: str) -> int:
        return 1 + max(entry["id"] for entry in self.content[split][key])

    def read(self, image: Mapping) -> bytes:
        return (self.data / "train2017" / image["file_name"]).read_bytes()

    def write(self, split: str, name: str, data: bytes) -> None:
        path = self.out / f"{split}2017" / name
        path.unlink(missing_ok=True)
        write_bytes(path, data, durable=False)


def plant_faults(data: Path, out: Path, seed: int, each: int = 5) -> list[Plant]:
    """Write a copy of a data set with faults.

    Args:
        data: COCO folder with ``train2017`` and ``val2017``.
        out: Folder of the copy; replaced if it exists.
        seed: Seed of the choice.
        each: Number of faults of each of the 8 kinds.
    """
    shutil.rmtree(out, ignore_errors=True)
    for split in ("train", "val"):
        folder = out / f"{split}2017"
        folder.mkdir(parents=True)
        for path in (data / f"{split}2017").resolve().iterdir():
            (folder / path.name).symlink_to(path)
    (out / "annotations").mkdir()
    copied = _Copy(data, out, seed)
    plants = [fault(copied) if number is None else fault(copied, number) for fault, number in _orders(each)]
    for split, content in copied.content.items():
        write_text(out / _LABELS.format(split), json.dumps(content), durable=False)
    return plants


def _orders(each: int) -> list[tuple[Callable[..., Plant], int | None]]:
    single = (_exchange_sides, _move_box, _move_keypoint, _copy_photo, _leak_photo, _truncate)
    orders: list[tuple[Callable[..., Plant], int | None]] = [
        (fault, None) for fault in single for _ in range(each)
    ]
    return orders + [(fault, number) for fault in (_change_size, _change_people) for number in range(each)]


def _person_plant(fault: str, kinds: tuple[str, ...], image: Mapping, person: Any) -> Plant:
    return Plant(fault, kinds, "train", image["file_name"], person)


def _exchange_sides(data: _Copy) -> Plant:
    ann, image = data.take_person()
    triples = np.array(ann["keypoints"], float).reshape(-1, 3)
    ann["keypoints"] = triples[list(data.flip)].ravel().tolist()
    return _person_plant("left and right exchanged", ("swapped-sides",), image, ann["id"])


def _move_box(data: _Copy) -> Plant:
    """Move a box by 0.75 to 1.5 of its width and height; people whose photo has no room for that are passed over."""
    while True:
        ann, image = data.take_person()
        x, y, width, height = ann["bbox"]
        for _ in range(20):
            angle, reach = data.rng.uniform(0, 2 * np.pi), data.rng.uniform(0.75, 1.5)
            left, top = x + reach * np.cos(angle) * width, y + reach * np.sin(angle) * height
            if 0 <= left <= image["width"] - width and 0 <= top <= image["height"] - height:
                ann["bbox"] = [float(left), float(top), width, height]
                return _person_plant("box elsewhere", ("box-keypoints",), image, ann["id"])


def _move_keypoint(data: _Copy) -> Plant:
    """Move a keypoint by 0.5 to 1 of the box's longer side, inside the photo."""
    while True:
        ann, image = data.take_person()
        known = np.flatnonzero(np.array(ann["keypoints"][2::3]) > 0)
        for _ in range(20):
            k = int(data.rng.choice(known))
            angle, reach = data.rng.uniform(0, 2 * np.pi), data.rng.uniform(0.5, 1.0) * max(ann["bbox"][2:])
            x, y = (
                ann["keypoints"][3 * k] + reach * np.cos(angle),
                ann["keypoints"][3 * k + 1] + reach * np.sin(angle),
            )
            if 0 <= x <= image["width"] and 0 <= y <= image["height"]:
                ann["keypoints"][3 * k : 3 * k + 2] = [float(x), float(y)]
                return _person_plant("keypoint moved", ("misplaced-keypoint",), image, ann["id"])


def _add_copy(data: _Copy, split: str, image: Mapping, name: str, size: tuple[int, int]) -> None:
    scale = size[0] / image["width"]
    new = {
        **image,
        "id": data.new_id(split, "images"),
        "file_name": name,
        "width": size[0],
        "height": size[1],
    }
    data.content[split]["images"].append(new)
    for ann in data.by_photo.get(image["id"], ()):
        twin = copy.deepcopy(ann)
        twin.update(id=data.new_id(split, "annotations"), image_id=new["id"])
        twin["bbox"] = [value * scale for value in ann["bbox"]]
        twin["area"] = ann["area"] * scale**2
        triples = np.array(ann["keypoints"], float).reshape(-1, 3) * [scale, scale, 1]
        twin["keypoints"] = triples.ravel().tolist()
        data.content[split]["annotations"].append(twin)


def _copy_photo(data: _Copy) -> Plant:
    image = data.take_photo()
    name = f"copy_{image['file_name']}"
    data.write("train", name, data.read(image))
    _add_copy(data, "train", image, name, (image["width"], image["height"]))
    return Plant("photo twice in train", ("duplicate-photo",), "train", name)


def _leak_photo(data: _Copy) -> Plant:
    """Put a photo of train into val, at 0.5 to 1 of its size, compressed with a quality of 40 to 90."""
    image = data.take_photo()
    pixels = read_image(data.read(image))
    scale = data.rng.uniform(0.5, 1.0)
    size = (round(pixels.shape[1] * scale), round(pixels.shape[0] * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(data.rng.integers(40, 91))])[1]
    name = f"leak_{image['file_name']}"
    data.write("val", name, encoded.tobytes())
    _add_copy(data, "val", image, name, size)
    return Plant("train photo in val", ("leaked-photo",), "val", name)


def _truncate(data: _Copy) -> Plant:
    image = data.take_photo()
    content = data.read(image)
    data.write("train", image["file_name"], content[: int(len(content) * data.rng.uniform(0.2, 0.95))])
    return Plant("photo truncated", ("broken-photo",), "train", image["file_name"])


def _change_size(data: _Copy, number: int) -> Plant:
    """State another size in the labels, or turn the photo: alternately."""
    image = data.take_photo()
    while number % 2 and image["width"] == image["height"]:
        image = data.take_photo()
    if number % 2:
        pixels = read_image(data.read(image))
        data.write("train", image["file_name"], cv2.imencode(".jpg", np.rot90(pixels))[1].tobytes())
    else:
        scale = data.rng.uniform(0.5, 0.95)
        image["width"], image["height"] = round(image["width"] / scale), round(image["height"] / scale)
    return Plant("size or orientation", ("photo-size",), "train", image["file_name"])


def _change_people(data: _Copy, number: int) -> Plant:
    """Remove a person's keypoints but not their number, or annotate a person twice: alternately."""
    ann, image = data.take_person()
    if number % 2 == 0:
        ann["keypoints"] = [0] * len(ann["keypoints"])
        return _person_plant("no keypoints, or person twice", ("keypoint-count",), image, ann["id"])
    twin = copy.deepcopy(ann)
    twin["id"] = data.new_id("train", "annotations")
    triples = np.array(ann["keypoints"], float).reshape(-1, 3)
    noise = data.rng.uniform(-0.01, 0.01, (len(triples), 2)) * max(ann["bbox"][2:])
    triples[:, :2] += noise * (triples[:, 2:] > 0)
    twin["keypoints"] = triples.ravel().tolist()
    data.content["train"]["annotations"].append(twin)
    return _person_plant("no keypoints, or person twice", ("duplicate-person",), image, twin["id"])


def check_folder(folder: Path, seen: dict[Path, PhotoFacts] | None = None) -> list[dict[str, Any]]:
    """Return the records of all findings in a COCO folder.

    Args:
        folder: COCO folder.
        seen: What photos' files say, by real path: those in it are not read again, others are added.
    """
    labels = read_labels(find_label_files(folder))
    seen = {} if seen is None else seen
    real = [entry.path.resolve() for entry in labels.photos]
    new = [number for number, path in enumerate(real) if path not in seen]
    seen.update(zip([real[i] for i in new], scan_photos([labels.photos[i] for i in new])))
    found = find_all(labels, [seen[path] for path in real])
    return [as_record(finding, labels) for findings in found.values() for finding in findings]


class Score(NamedTuple):
    """Named plants by fault, other errors and warnings, and those of the others that the data had before."""

    named: dict[str, int]
    others: int
    old: int


def score(
    plants: Sequence[Plant], records: Sequence[dict[str, Any]], before: Sequence[dict[str, Any]]
) -> Score:
    """Return how many plants are named.

    A plant counts as named only by an error or warning of its kind for its person, or for its photo if it has none.
    Findings about a planted person or photo are not others.

    Args:
        plants: What was planted.
        records: All findings, as in the JSON report.
        before: Those of the data set without faults.
    """
    named = {plant.fault: 0 for plant in plants}
    told = [record for record in records if record["level"] != "hint"]
    places = {(plant.split, plant.photo, plant.person) for plant in plants}
    for plant in plants:
        hits = [r for r in told if (r["split"], r["photo"], r["person"]) == plant[2:]]
        named[plant.fault] += any(record["kind"] in plant.kinds for record in hits)
    others = [
        r
        for r in told
        if not places & {(r["split"], r["photo"], r["person"]), (r["split"], r["photo"], None)}
    ]
    known = {key_of(record) for record in before}
    return Score(named, len(others), sum(key_of(record) in known for record in others))


def print_scores(seeds: Sequence[int], scores: Sequence[Score]) -> None:
    """Print the median and the worst of the seeds."""
    table = {fault: [each.named[fault] for each in scores] for fault in scores[0].named}
    table["all named"] = [sum(each.named.values()) for each in scores]
    table["others"] = [each.others for each in scores]
    table["others that are new"] = [each.others - each.old for each in scores]
    print(f"seeds {' '.join(map(str, seeds))}: median, worst, each")
    for name, values in table.items():
        worst = max(values) if name.startswith("others") else min(values)
        print(f"{name}: {np.median(values):g}, {worst}, {values}", flush=True)
