"""Convert labelme annotations to a COCO dataset.

    python tools/dataset_converters/labelme_to_coco.py LABELS --keypoints my_keypoints.py --out data/mine

In labelme, label each point with the name of its keypoint and give all shapes of a person the same group id. A
rectangle is the person's box, a polygon an outline (both optional). The flag `occluded` marks a hidden point.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.datasets.converters import command
from ehrpose.datasets.converters.labelme import LabelmeReader
from ehrpose.keypoint_files import load_keypoints


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", type=Path, help="folder with labelme JSON files, searched recursively")
    parser.add_argument(
        "--keypoints",
        type=Path,
        required=True,
        metavar="FILE",
        help="config file with the skeleton (variable `keypoints`)",
    )
    command.add_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    meta = load_keypoints(args.keypoints)
    reader = LabelmeReader(meta, command.parse_renames(args.rename), args.ignore)
    photos = reader.read_folder(args.labels)
    command.write_data_set(args, photos, meta, "labelled with labelme")
    for what, count in reader.ignored.items():
        print(f"left out: {count} x {what}")


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
