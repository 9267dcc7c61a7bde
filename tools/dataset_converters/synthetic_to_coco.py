"""Write the embedded data set as a COCO folder: JPEG photos and person_keypoints_{split}2017.json.

    python tools/dataset_converters/synthetic_to_coco.py --out data/synthetic --length 2000 --val-length 200

Train scenes have the seed given, validation scenes the next one. Nothing appears at --out before all is done.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from mmengine.config import Config
from mmengine.utils import ProgressBar

from ehrpose.config import load_config, resolve
from ehrpose.datasets.synthetic import SyntheticPeople

ROOT = Path(__file__).resolve().parents[2]
_JPEG_QUALITY = 95


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to make; must be absent or empty")
    parser.add_argument("--length", type=int, default=2000, help="number of train scenes")
    parser.add_argument("--val-length", type=int, default=200, help="number of validation scenes, 0 for none")
    parser.add_argument("--seed", type=int, default=0, help="seed of the train scenes")
    parser.add_argument(
        "--image-size", type=int, nargs="+", default=[256], metavar="PX", help="side, or width and height"
    )
    parser.add_argument(
        "--num-people", type=int, nargs=2, default=[1, 4], metavar=("MIN", "MAX"), help="people of a scene"
    )
    parser.add_argument(
        "--keypoints",
        type=Path,
        default=ROOT / "configs/_base_/keypoints/coco.py",
        help="config with the variable `keypoints`",
    )
    parser.add_argument(
        "--config",
        help="take the scenes of this config's train and val data sets; the options above do not count",
    )
    args = parser.parse_args(argv)
    if len(args.image_size) > 2:
        parser.error(f"--image-size takes one or two numbers, got {len(args.image_size)}")
    return args


def write_split(dataset: SyntheticPeople, folder: Path, split: str) -> None:
    """Write the photos and the json of one split into a COCO folder.

    Args:
        dataset: The scenes.
        folder: The COCO folder.
        split: ``train`` or ``val``.
    """
    photo_dir = folder / f"{split}2017"
    photo_dir.mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    images, annotations = [], []
    print(f"{split}: {len(dataset)} scenes")
    progress = ProgressBar(len(dataset))
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        name = f"{info['img_id']:012d}.jpg"
        # OpenCV's writer reports a full disk only by its return value.
        if not cv2.imwrite(str(photo_dir / name), info["img"], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]):
            raise OSError(f"could not write {photo_dir / name}; is the disk full?")
        images.append(
            {"id": info["img_id"], "file_name": name, "width": info["width"], "height": info["height"]}
        )
        annotations.extend(info["raw_anns"])
        progress.update()
    print()
    content = {
        "info": {"description": f"SyntheticPeople, seed {dataset.seed}", "version": "1.0"},
        "licenses": [],
        "images": images,
        "annotations": annotations,
        "categories": [_category(dataset)],
    }
    path = folder / "annotations" / f"person_keypoints_{split}2017.json"
    path.write_text(json.dumps(content))


def _category(dataset: SyntheticPeople) -> dict[str, Any]:
    meta = dataset.keypoints
    return {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(meta.names),
        "skeleton": [[i + 1, j + 1] for i, j in meta.skeleton],
    }


def _splits(args: argparse.Namespace) -> Iterator[tuple[str, SyntheticPeople]]:
    if args.config is not None:
        cfg = resolve(load_config(args.config))
        for split in ("train", "val"):
            settings = dict(cfg[f"{split}_dataloader"].dataset)
            if settings.pop("type") != "SyntheticPeople":
                raise ValueError(f"{args.config} has another {split} data set than SyntheticPeople")
            for name in ("pipeline", "cache", "test_mode"):
                settings.pop(name, None)
            yield split, SyntheticPeople(**settings)
        return
    keypoints = Config.fromfile(args.keypoints).keypoints
    size = args.image_size[0] if len(args.image_size) == 1 else args.image_size
    for split, length, seed in (("train", args.length, args.seed), ("val", args.val_length, args.seed + 1)):
        if length or split == "train":
            yield split, SyntheticPeople(keypoints, length, seed, size, args.num_people)


def convert(args: argparse.Namespace) -> Path:
    """Write the whole data set beside ``args.out`` and move it there.

    Raises:
        ValueError: The folder is there and not empty, or is a file.
    """
    out = args.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not empty: remove it or choose another --out")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.parent / f".{out.name}.{os.getpid()}.partial"
    try:
        for split, dataset in _splits(args):
            write_split(dataset, beside, split)
        os.replace(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out


def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    out = convert(parse_args(argv))
    print(f"written: {out}")


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
