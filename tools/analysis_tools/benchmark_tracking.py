"""Print how well trackers follow the people of drawn videos.

IDF1, switches, fragmentations, MOTA, HOTA, milliseconds, and the error and the acceleration of the keypoints. People
are true ones with noise, or those that a model finds.

Example: python tools/analysis_tools/benchmark_tracking.py --videos 18
         python tools/analysis_tools/benchmark_tracking.py --sweep max_age 0.5 1 2 4
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=18, help="number of videos, seeds from 0 on")
    parser.add_argument("--frames", type=int, default=200, help="frames of each")
    parser.add_argument(
        "--video-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
        help="arguments of SyntheticVideo, such as num_people='(2,4)'",
    )  # fmt: skip
    parser.add_argument(
        "--config", help="model that finds the people, with --checkpoint; else noise on true people"
    )
    parser.add_argument("--checkpoint")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--noise", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
        help="replace those of DetectionNoise",
    )  # fmt: skip
    parser.add_argument(
        "--tracker-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
        help="options of PoseTracker, such as max_age=3 or smoothing.beta=2",
    )  # fmt: skip
    parser.add_argument(
        "--sweep", nargs="+", default=[], metavar=("NAME", "VALUE"),
        help="instead: an option of PoseTracker and values to try, on other videos (seeds from 1000 on)",
    )  # fmt: skip
    parser.add_argument(
        "--keypoints", default=str(Path(__file__).resolve().parents[2] / "configs/_base_/keypoints/coco.py"),
        help="config file with the skeleton",
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.tracking.tracking_benchmark import print_benchmark

    if (args.config is None) != (args.checkpoint is None):
        raise ValueError("give both --config and --checkpoint, or neither")
    model = (args.config, args.checkpoint, args.device) if args.config else None
    print_benchmark(
        args.keypoints,
        args.videos,
        args.frames,
        args.noise,
        args.tracker_options,
        args.sweep,
        model,
        args.video_options,
    )


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
