"""Photos side by side in one wide picture: how many of the people that are found lie in one photo each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from ehrpose.datasets.coco_json import read_coco_json
from ehrpose.image_io import read_image
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People

# Photos that count have a person with at least this fraction of the keypoints labelled.
_LABELLED = 0.45


class Found(NamedTuple):
    """People in tiled photos.

    Attributes:
        people: Number of people.
        in_one: Of these, those whose keypoints all lie in one photo.
    """

    people: int
    in_one: int


def tiled_photos(
    ann_file: str | Path,
    img_dir: str | Path,
    meta: KeypointMeta,
    rows: int,
    tiles: int,
    height: int,
    seed: int = 0,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield wide pictures, (height, W, 3) uint8 BGR, and the (tiles + 1,) px where their photos begin and end.

    Args:
        ann_file: COCO keypoint json.
        img_dir: Folder of its photos.
        meta: The skeleton.
        rows: Number of pictures.
        tiles: Photos in each, without repetition.
        height: Their height, px.
        seed: Of the choice.

    Raises:
        ImageReadError: A photo is missing or broken.
        ValueError: There are too few photos of people, or the json does not fit the skeleton.
    """
    items = read_coco_json(Path(ann_file), meta, need_annotations=True)[0]
    names = [item["file_name"] for item in items if _shows_person(item, meta)]
    if len(names) < tiles:
        raise ValueError(
            f"expected at least {tiles} photos with a labelled person, {ann_file} has {len(names)}"
        )
    rng = np.random.default_rng(seed)
    for _ in range(rows):
        photos = []
        for index in rng.choice(len(names), tiles, replace=False):
            photo = read_image(Path(img_dir) / names[index])
            width = max(1, round(photo.shape[1] * height / photo.shape[0]))
            photos.append(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA))
        yield np.hstack(photos), np.cumsum([0, *(photo.shape[1] for photo in photos)])


def _shows_person(item: dict[str, Any], meta: KeypointMeta) -> bool:
    least = _LABELLED * meta.num_keypoints
    return any(
        not int(one.get("iscrowd", 0)) and int(one.get("num_keypoints", 0)) >= least
        for one in item["raw_anns"]
    )


def count_people(people: People, edges: Sequence[int] | np.ndarray) -> Found:
    """Count people, and those whose keypoints all lie between two neighbouring edges.

    Args:
        people: In px of the wide picture.
        edges: Ascending px, see ``tiled_photos``.
    """
    has = people.keypoint_scores > 0
    tile = np.clip(np.searchsorted(edges, people.keypoints[..., 0], side="right") - 1, 0, len(edges) - 2)
    low = np.where(has, tile, len(edges)).min(axis=1, initial=len(edges))
    high = np.where(has, tile, -1).max(axis=1, initial=-1)
    return Found(len(people), int((low >= high).sum()))


def measure(
    predictor: Any, pictures: Iterator[tuple[np.ndarray, np.ndarray]], bbox_thr: float = 0.1
) -> Found:
    """Find people in tiled photos; those below ``bbox_thr`` do not count."""
    total = Found(0, 0)
    for picture, edges in pictures:
        (people,) = predictor.predict([picture])
        found = count_people(people.select(people.scores >= bbox_thr), edges)
        total = Found(total.people + found.people, total.in_one + found.in_one)
    return total
