"""Time exported files of several engines in turns, and print size, memory and AP beside.

Example: python tools/analysis_tools/benchmark_engines.py work_dirs/engines/*/end2end.* --images data/coco/val2017
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
        "files", nargs="+", help="exported files; ratios are to the first. Sidecars and weights are skipped"
    )
    parser.add_argument("--images", required=True, help="photo, folder or glob")
    parser.add_argument(
        "--rounds", type=int, default=20, help="runs of each file, a photo each (default: %(default)s)"
    )
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--memory", action="store_true", help="also measure peak memory, each file in a process of its own"
    )
    parser.add_argument("--ann-file", help="COCO keypoint file of --images, to measure AP too")
    add_trust_pt2(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.engine_benchmark import compare_engines, print_engines
    from ehrpose.inferencers.model_spec import is_exported
    from ehrpose.media.inputs import list_images

    files = [path for path in args.files if is_exported(path)]
    if not files:
        raise ValueError(f"expected exported files such as end2end.onnx, got {' '.join(args.files)}")
    labels = None if args.ann_file is None else (args.ann_file, args.images)
    rows = compare_engines(
        files, list_images(args.images), args.rounds, args.threads, args.memory, labels, args.trust_pt2
    )
    print_engines(rows)


if __name__ == "__main__":
    run_cli(main)
