"""Measure from the command to the people of one photo: torch and the exported form of a zoo model, in turn.

Example: python tools/analysis_tools/benchmark_first_minute.py photo.jpg --bare bare/bin/python
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photo", help="photo to find people in")
    parser.add_argument(
        "--bare", metavar="PYTHON", help="interpreter of an environment with ehrpose and without torch"
    )
    parser.add_argument("--rounds", type=int, default=10, help="runs of each (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.speed.first_minute import measure, own_starts, table

    print(table(measure(args.photo, own_starts(args.bare), args.rounds)))


if __name__ == "__main__":
    run_cli(main)
