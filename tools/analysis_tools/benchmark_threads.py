"""Compare one thread and threads that spin while they wait, briefly or not at all, also beside busy loops.

Example: python tools/analysis_tools/benchmark_threads.py ehrnet-small --busy 0 2
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli

BACKENDS = ("torch", "onnxruntime")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", default="ehrnet-small", help="zoo model (default: %(default)s)")
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--num-threads", type=int, default=2, help="threads (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each way (default: %(default)s)")
    parser.add_argument("--photos", type=int, default=3, help="photos in a turn (default: %(default)s)")
    parser.add_argument(
        "--busy", nargs="+", type=int, default=[0, 2], help="numbers of busy loops (default: 0 2)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.num_threads < 2 or min(args.rounds, args.photos) < 1 or min(args.busy) < 0:
        raise ValueError(
            "expected `num_threads` of at least 2, `rounds` and `photos` of at least 1, `busy` of at least 0"
        )
    from ehrpose.analysis.speed.thread_benchmark import measure, table

    rows = []
    for backend in args.backends:
        for busy in args.busy:
            rows += measure(args.model, backend, args.num_threads, args.rounds, args.photos, busy)
    print(table(rows))


if __name__ == "__main__":
    run_cli(main)
