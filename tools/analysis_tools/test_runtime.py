"""Evaluate exported networks with COCO AP, for example to see the cost of lower precision.

Example: python tools/analysis_tools/test_runtime.py fp32/end2end.onnx int8/end2end.onnx \
    --ann-file data/coco/annotations/person_keypoints_val2017.json --img-dir data/coco/val2017
"""

from __future__ import annotations

import argparse

from ehrpose.cli import add_trust_pt2, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "paths",
        nargs="+",
        help="exported files, each with its JSON next to it; or FAMILY:FILE of another project (movenet:FILE.onnx)",
    )
    parser.add_argument("--ann-file", required=True, help="COCO keypoint file")
    parser.add_argument("--img-dir", required=True, help="folder with its images")
    parser.add_argument("--max-images", type=int, help="only use the first n images")
    parser.add_argument("--backend", help="default: the backend each was exported for")
    parser.add_argument("--num-threads", type=int, help="number of CPU threads")
    parser.add_argument("--size", type=int, help="side of the input of another project's file, px")
    add_trust_pt2(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Evaluate and print."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.exported_ap import print_evaluation

    print_evaluation(**vars(args))


if __name__ == "__main__":
    run_cli(main)
