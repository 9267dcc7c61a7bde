"""Measure the speed-up of video inference when reading, inference, drawing and encoding run in parallel.

Example: python tools/analysis_tools/benchmark_video.py work_dirs/deploy/end2end.onnx --size 1920 1080 --threads 1
"""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="zoo model, config file or exported file")
    parser.add_argument("--weights", help="checkpoint (default: those of the zoo model, or random)")
    parser.add_argument("--device", help="cpu, cuda:0, ...")
    parser.add_argument("--backend", help="backend of an exported file")
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[1280, 720],
        metavar=("WIDTH", "HEIGHT"),
        help="size of the rendered clip, px",
    )
    parser.add_argument("--frames", type=int, default=100, help="frames of the clip")
    parser.add_argument("--rounds", type=int, default=3, help="runs per mode; the fastest is reported")
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Time both modes."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.video_benchmark import print_benchmark

    size_wh = (args.size[0], args.size[1])
    print_benchmark(
        args.model, args.weights, args.device, args.backend, args.threads, size_wh, args.frames, args.rounds,
        args.cfg_options,
    )  # fmt: skip


if __name__ == "__main__":
    run_cli(main)
