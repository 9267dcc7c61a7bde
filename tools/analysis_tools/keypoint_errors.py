"""Classify keypoint errors: jitter, inversion (left for right), swap (another person's) and miss.

Example: python tools/test.py CONFIG CHECKPOINT --out results.json
python tools/analysis_tools/keypoint_errors.py CONFIG results.json \
    --ann-file data/coco/annotations/person_keypoints_val2017.json
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file with the skeleton")
    parser.add_argument("results", help="predictions in COCO submission format")
    parser.add_argument("--ann-file", required=True, help="COCO keypoint file")
    parser.add_argument(
        "--min-oks",
        type=float,
        default=0.3,
        help="minimum OKS of a match, above 0 to 1 (default: 0.3)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Compare and print."""
    args = parse_args(argv)
    from ehrpose.config import load_config, resolve
    from ehrpose.evaluation.keypoint_errors import print_errors
    from ehrpose.keypoint_meta import KeypointMeta

    meta = KeypointMeta.build(resolve(load_config(args.config)).keypoints)
    print_errors(meta, args.results, args.ann_file, args.min_oks)


if __name__ == "__main__":
    run_cli(main)
