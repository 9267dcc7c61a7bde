"""Compare the decoding time of the C++ decoder (folder cpp) with Python's fast mode, on noisy maps of drawn people.

Times are processor time; on a busy machine trust the ratios alone.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.cli import run_cli

ROOT = Path(__file__).resolve().parents[2]


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--network", default=str(ROOT / "checkpoints/ehrnet-small-292b1254.onnx"),
        help="exported network whose JSON says how to decode (default: ehrnet-small)",
    )  # fmt: skip
    parser.add_argument("--people", type=int, nargs="+", default=[5, 30], help="numbers of people")
    parser.add_argument("--sides", type=int, nargs="+", default=[512], help="sides of the network input, px")
    parser.add_argument("--rounds", type=int, default=30, help="decodes in each of three turns")
    parser.add_argument("--compiler", default="g++", help="C++ compiler")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.rounds < 1 or min(args.people) < 0 or any(side < 32 or side % 32 for side in args.sides):
        raise ValueError(
            "expected --rounds of at least 1, --people from 0, and --sides of multiples of 32 px"
        )

    from ehrpose.analysis.codec.cpp_benchmark import print_cpp_benchmark

    print_cpp_benchmark(Path(args.network), ROOT / "cpp", args.people, args.sides, args.rounds, args.compiler)


if __name__ == "__main__":
    run_cli(main)
