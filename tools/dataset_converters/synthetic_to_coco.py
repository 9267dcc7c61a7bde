"""Write the synthetic dataset in COCO format: JPEG images and person_keypoints_{split}2017.json.

    python tools/dataset_converters/synthetic_to_coco.py --out data/synthetic --length 2000 --val-length 200

Training scenes use --seed, validation scenes the next seed. The folder --out only appears once everything is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from ehrpose.datasets.converters.synthetic_folder import splits_of_config, write_synthetic_folder
from ehrpose.datasets.synthetic.dataset import SyntheticPeople
from ehrpose.keypoint_files import load_keypoints

ROOT = Path(__file__).resolve().parents[2]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="output folder, must be missing or empty")
    parser.add_argument("--length", type=int, default=2000, help="number of training scenes")
    parser.add_argument("--val-length", type=int, default=200, help="number of validation scenes, may be 0")
    parser.add_argument("--seed", type=int, default=0, help="seed of the training scenes")
    parser.add_argument(
        "--image-size",
        type=int,
        nargs="+",
        default=[256],
        metavar="PX",
        help="image side, or width and height",
    )
    parser.add_argument(
        "--num-people", type=int, nargs=2, default=[1, 4], metavar=("MIN", "MAX"), help="people per scene"
    )
    parser.add_argument(
        "--person-height",
        type=float,
        nargs=2,
        default=[0.3, 0.9],
        metavar=("MIN", "MAX"),
        help="standing height relative to the short side of the image",
    )
    for name, what in (
        ("occlusion", "0 (separate, fully visible people) to 1 (overlapping, truncated, behind objects)"),
        ("clutter", "0 (plain background) to 1 (busy background)"),
        ("pose-variety", "0 (standing or walking towards the camera) to 1 (any pose from any side)"),
    ):
        default = 1.0 if name == "pose-variety" else 0.5
        parser.add_argument(f"--{name}", type=float, default=default, metavar="SHARE", help=what)
    parser.add_argument(
        "--keypoints",
        type=Path,
        default=ROOT / "configs/_base_/keypoints/coco.py",
        help="config file with the skeleton (variable `keypoints`)",
    )
    parser.add_argument(
        "--config",
        help="use the train and val scenes of this config; ignores the options above",
    )
    args = parser.parse_args(argv)
    if len(args.image_size) > 2:
        parser.error(f"--image-size takes one or two numbers, got {len(args.image_size)}")
    return args


def splits(args: argparse.Namespace) -> Iterator[tuple[str, SyntheticPeople]]:
    """Yield the name and the scenes of each split."""
    if args.config is not None:
        yield from splits_of_config(args.config)
        return
    keypoints = load_keypoints(args.keypoints)
    size = args.image_size[0] if len(args.image_size) == 1 else args.image_size
    for split, length, seed in (("train", args.length, args.seed), ("val", args.val_length, args.seed + 1)):
        if length or split == "train":
            yield (
                split,
                SyntheticPeople(
                    keypoints,
                    length,
                    seed,
                    size,
                    args.num_people,
                    args.person_height,
                    args.occlusion,
                    args.clutter,
                    args.pose_variety,
                ),
            )


def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    write_synthetic_folder(splits(args), args.out)
    print(f"written: {args.out}")


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
