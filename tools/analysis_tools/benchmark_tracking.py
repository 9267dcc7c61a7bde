"""Evaluate trackers on rendered videos.

Prints IDF1, switches, fragmentations, MOTA, HOTA, milliseconds, and the error and acceleration of the keypoints.
Detections are the ground truth with noise, or those of a model.

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
    parser.add_argument("--videos", type=int, default=18, help="number of videos; their seeds start at 0")
    parser.add_argument("--frames", type=int, default=200, help="frames per video")
    parser.add_argument(
        "--video-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
        help="options of SyntheticVideo, for example num_people='(2,4)'",
    )  # fmt: skip
    parser.add_argument(
        "--config", help="config of a detection model, with --checkpoint (default: ground truth with noise)"
    )
    parser.add_argument("--checkpoint", help="checkpoint of the detection model")
    parser.add_argument(
        "--device", default="cpu", help="device of the detection model (default: %(default)s)"
    )
    parser.add_argument(
        "--noise", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
        help="options of DetectionNoise",
    )  # fmt: skip
    parser.add_argument(
        "--tracker-options", nargs="+", action=DictAction, default={}, metavar="KEY=VALUE",
        help="options of PoseTracker, for example max_age=3 or smoothing.beta=2",
    )  # fmt: skip
    parser.add_argument(
        "--sweep", nargs="+", default=[], metavar=("NAME", "VALUE"),
        help="try these values of a PoseTracker option instead, on other videos (seeds from 1000 on)",
    )  # fmt: skip
    parser.add_argument(
        "--keypoints", default=str(Path(__file__).resolve().parents[2] / "configs/_base_/keypoints/coco.py"),
        help="config file with the skeleton (default: COCO)",
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
