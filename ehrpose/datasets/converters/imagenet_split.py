"""Lists of photos that split ImageNet otherwise than its challenge, such as EfficientHRNet's paper does."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path

from ehrpose.datasets.classification.folders import ImageNet
from ehrpose.file_sets import FileGroup
from ehrpose.files import make_parent


def split_imagenet(
    data_root: str | os.PathLike, out: str | os.PathLike, train: int, val: int, seed: int = 0
) -> dict[str, int]:
    """Draw lists of training and validation photos from ImageNet's training photos; its validation photos are the test.

    Each class gets its share of both lists. The lists, ``train.txt``, ``val.txt`` and ``test.txt``, have a photo and
    the number of its class per line, for ``list_file`` of the data set ImageNet.

    Args:
        data_root: ImageNet's folder, see the data set ImageNet.
        out: Folder for the lists.
        train: Photos for training.
        val: Photos for validation.
        seed: Seed of the draw.

    Returns:
        Name of each list to the number of its photos.

    Raises:
        FileNotFoundError: ImageNet is not there.
        ValueError: A number is below 1, or there are not enough photos.
    """
    if train < 1 or val < 1:
        raise ValueError(f"expected `train` and `val` from 1, got {train} and {val}")
    photos = _photos(ImageNet(str(data_root), "train"))
    if train + val > len(photos):
        raise ValueError(
            f"{data_root} has {len(photos)} training photos, got `train` and `val` of together {train + val}"
        )
    drawn = _draw(photos, train, val, seed)
    lists = {"train": drawn[:train], "val": drawn[train:], "test": _photos(ImageNet(str(data_root), "val"))}
    with FileGroup() as group:
        for name, chosen in lists.items():
            path = Path(out, f"{name}.txt")
            make_parent(path)
            lines = [f"{os.path.relpath(photo, data_root)} {label}" for photo, label in sorted(chosen)]
            group.write(path, ("\n".join(lines) + "\n").encode())
    return {name: len(chosen) for name, chosen in lists.items()}


def _photos(dataset: ImageNet) -> list[tuple[str, int]]:
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return [(info["img_path"], info["gt_label"]) for info in infos]


def _draw(photos: Sequence[tuple[str, int]], train: int, val: int, seed: int) -> list[tuple[str, int]]:
    """Return ``train + val`` photos in an order in which every stretch has each class's share."""
    by_class: dict[int, list[tuple[str, int]]] = {}
    for photo in photos:
        by_class.setdefault(photo[1], []).append(photo)
    rng = random.Random(seed)
    placed = []
    for of_class in by_class.values():
        rng.shuffle(of_class)
        # The n-th of a class's N photos stands at (n + u) / N of the whole.
        placed += [((n + rng.random()) / len(of_class), photo) for n, photo in enumerate(of_class)]
    return [photo for _, photo in sorted(placed)[: train + val]]
