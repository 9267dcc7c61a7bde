"""Measure how fast a video becomes a file of people, with and without pictures, against the network alone.

Example: python tools/analysis_tools/benchmark_video_json.py ehrnet-small --backend openvino --threads 2
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="ehrnet-small", help="zoo model or exported file")
    parser.add_argument("--backend", help="backend of an exported file")
    parser.add_argument("--threads", type=int, help="CPU threads of the network")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of the drawn video")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way; medians are reported")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Time the ways."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.video_json_benchmark import measure, table
    from ehrpose.inferencers.inferencer import PoseInferencer

    size_wh = (args.size[0], args.size[1])
    with PoseInferencer(
        args.model, device="cpu", backend=args.backend, mode="fast", flip_test=False, num_threads=args.threads
    ) as inferencer:
        num_frames, taken = measure(inferencer, args.seconds, size_wh, args.rounds)
        print(f"{num_frames} frames of {size_wh[0]} x {size_wh[1]}, {inferencer.predictor.name}\n")
    print(table(num_frames, taken))


if __name__ == "__main__":
    run_cli(main)
