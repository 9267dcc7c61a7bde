"""Writing the built-in synthetic dataset as a COCO folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ehrpose.config import load_config, resolve
from ehrpose.counted import counted
from ehrpose.datasets.converters.coco_folder import new_folder, write_annotations
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.progress import Progress
from ehrpose.visualization.drawing import write_picture

_JPEG_QUALITY = 95


def splits_of_config(config: str | Path) -> list[tuple[str, SyntheticPeople]]:
    """Return the train and val scenes of a config.

    Raises:
        ValueError: One of its datasets is not SyntheticPeople.
    """
    cfg = resolve(load_config(config))
    splits = []
    for split in ("train", "val"):
        settings = dict(cfg[f"{split}_dataloader"].dataset)
        kind = settings.pop("type")
        if kind != "SyntheticPeople":
            raise ValueError(f"{config}: expected SyntheticPeople as {split} dataset, got {kind}")
        for name in ("pipeline", "cache", "test_mode"):
            settings.pop(name, None)
        splits.append((split, SyntheticPeople(**settings)))
    return splits


def write_synthetic_folder(splits: Iterable[tuple[str, SyntheticPeople]], out: Path) -> None:
    """Write scenes as JPEG photos and person_keypoints_{split}2017.json; nothing appears until all is done.

    Args:
        splits: Name of the split (``train`` or ``val``) and its scenes.
        out: Folder to create; must be missing or empty.

    Raises:
        ValueError: The folder exists and is not empty, or is a file.
        WriteError: The disk is full or fails.
    """
    with new_folder(out) as folder:
        for split, dataset in splits:
            _write_split(dataset, folder, split)


def _write_split(dataset: SyntheticPeople, folder: Path, split: str) -> None:
    photo_dir = folder / f"{split}2017"
    photo_dir.mkdir(parents=True)
    images: list[dict] = []
    annotations: list[dict] = []
    print(f"{split}: {counted(len(dataset), 'scene')}")
    with Progress(len(dataset), split) as progress:
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            name = f"{info['img_id']:012d}.jpg"
            write_picture(photo_dir / name, info["img"], _JPEG_QUALITY)
            images.append(
                {"id": info["img_id"], "file_name": name, "width": info["width"], "height": info["height"]}
            )
            annotations.extend(info["raw_anns"])
            progress.step()
    description = f"SyntheticPeople, seed {dataset.seed}"
    write_annotations(folder, split, dataset.keypoints, images, annotations, description)
