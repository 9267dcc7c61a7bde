"""Measure the speed-up of ehrpose batch over one process that takes a video after the other.

Example: python tools/analysis_tools/benchmark_batch.py --backend openvino --videos 4 --seconds 10
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="ehrnet-small", help="zoo model or exported file")
    parser.add_argument("--backend", help="backend of an exported file")
    parser.add_argument("--workers", type=int, help="processes (default: one per core)")
    parser.add_argument("--threads", type=int, help="CPU threads of each worker")
    parser.add_argument("--videos", type=int, default=4, help="number of videos")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each")
    parser.add_argument("--size", type=int, nargs=2, default=[640, 480], metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--rounds", type=int, default=3, help="runs of each way; the median is reported")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Time both ways."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.batch_benchmark import print_benchmark
    from ehrpose.batch.options import BatchOptions

    options = BatchOptions(
        args.model, device="cpu", backend=args.backend, workers=args.workers, num_threads=args.threads
    )
    print_benchmark(options, args.videos, args.seconds, (args.size[0], args.size[1]), args.rounds)


if __name__ == "__main__":
    run_cli(main)
