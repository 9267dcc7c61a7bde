"""Pack the photos and labels of a COCO folder, made small, into a few tar files; or unpack them.

python tools/dataset_converters/pack_photos.py data/coco --out shards
python tools/dataset_converters/pack_photos.py shards --unpack --out data/small
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.cli import run_cli
from ehrpose.counted import counted


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", type=Path, metavar="IN", help="COCO folder, or with --unpack the tar files'")
    parser.add_argument("--out", type=Path, required=True, help="output folder, must be missing or empty")
    parser.add_argument("--unpack", action="store_true", help="unpack IN; ignores the options below")
    parser.add_argument("--split", default="train2017", help="folder of the photos (default: %(default)s)")
    parser.add_argument("--side", type=int, default=320, help="shorter side of the photos, px, or less")
    parser.add_argument("--quality", type=int, default=80, help="JPEG quality")
    parser.add_argument("--shard-mib", type=float, default=60.0, help="largest size of a tar file, MiB")
    parser.add_argument(
        "--image-ids", type=Path, help="text file with the ids of the photos to pack, one a line"
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out bad photos, and list them")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Pack or unpack."""
    args = parse_args(argv)
    from ehrpose.datasets.coco import read_image_ids
    from ehrpose.datasets.converters.shards import pack_photos, unpack_photos

    if args.unpack:
        print(f"{args.out}: {counted(unpack_photos(args.input, args.out), 'photo')}")
        return
    packed = pack_photos(
        args.input / "annotations" / f"person_keypoints_{args.split}.json",
        args.input / args.split,
        args.out,
        args.side,
        args.quality,
        args.shard_mib,
        None if args.image_ids is None else read_image_ids(str(args.image_ids)),
        args.skip_bad,
    )
    for name, size in packed.shards.items():
        print(f"{args.out / name}: {size / 2**20:.1f} MiB")
    for name, reason in packed.skipped.items():
        print(f"skipped {name}: {reason}")
    skipped = f", {len(packed.skipped)} skipped" if packed.skipped else ""
    print(f"{counted(packed.photos, 'photo')}, {counted(packed.people, 'annotation')}{skipped}")


if __name__ == "__main__":
    run_cli(main)
