"""Measure how many of the people found in photos tiled side by side lie in one photo each.

Example: python tools/analysis_tools/tile_photos.py ehrnet-small --rows 20
"""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="ehrnet-small", help="zoo model or exported file")
    parser.add_argument("--ann-file", default="data/coco/annotations/person_keypoints_val2017.json")
    parser.add_argument("--img-dir", default="data/coco/val2017")
    parser.add_argument("--rows", type=int, default=20, help="wide pictures (default: %(default)s)")
    parser.add_argument("--tiles", type=int, default=10, help="photos in each (default: %(default)s)")
    parser.add_argument("--height", type=int, default=300, help="of each, px (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of photos")
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure one model."""
    args = parse_args(argv)
    if min(args.rows, args.tiles) < 1 or args.height < 32:
        raise ValueError("expected `rows` and `tiles` of at least 1, and a `height` of at least 32 px")
    from ehrpose.analysis.codec.tiled_photos import measure, tiled_photos
    from ehrpose.inferencers.predictors import open_predictor
    from ehrpose.keypoint_meta import KeypointMeta

    predictor = open_predictor(args.model, cfg_options=args.cfg_options or None)
    pictures = tiled_photos(
        args.ann_file,
        args.img_dir,
        KeypointMeta.build(predictor.meta),
        args.rows,
        args.tiles,
        args.height,
        args.seed,
    )
    found = measure(predictor, pictures)
    share = found.in_one / max(found.people, 1)
    print(f"{predictor.name}: {found.in_one} of {found.people} people lie in one photo ({share:.3f})")


if __name__ == "__main__":
    run_cli(main)
