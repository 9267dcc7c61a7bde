"""Print how much faster a video is done with reading, finding, drawing and encoding side by side.

Example: python tools/analysis_tools/benchmark_video.py work_dirs/deploy/end2end.onnx --size 1920 1080 --threads 1
"""

from __future__ import annotations

import argparse

from ehrpose.cli import CfgOptions, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="config file, name in the model zoo, or exported file")
    parser.add_argument("--weights", help="checkpoint; default: the zoo's, or random ones")
    parser.add_argument("--device", help="cpu, cuda:0, ...")
    parser.add_argument("--backend", help="what runs an exported file")
    parser.add_argument("--threads", type=int, help="threads of the network")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=[1280, 720],
        metavar=("WIDTH", "HEIGHT"),
        help="of the drawn clip, px",
    )
    parser.add_argument("--frames", type=int, default=100, help="length of the clip")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way; the fastest counts")
    parser.add_argument("--cfg-options", nargs="+", action=CfgOptions, metavar="KEY=VALUE")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Time both ways."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.video_benchmark import print_benchmark

    size_wh = (args.size[0], args.size[1])
    print_benchmark(
        args.model, args.weights, args.device, args.backend, args.threads, size_wh, args.frames, args.rounds,
        args.cfg_options,
    )  # fmt: skip


if __name__ == "__main__":
    run_cli(main)
