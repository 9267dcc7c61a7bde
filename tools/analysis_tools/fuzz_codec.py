"""Decode generated maps, extremes included, with and without the compiled loops: both must do the same.

Prints how many maps ended in people, nobody or an error, and the slowest decode. Fails if the forms differ, a map ends
in anything else, or a decode takes more than 50 ms of processor time. To repeat map N: --start N --maps 1.
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--maps", type=int, default=1_000_000, help="number of maps (default: 1000000, about an hour)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the maps")
    parser.add_argument("--start", type=int, default=0, help="number of the first map")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.maps < 1 or args.seed < 0 or args.start < 0:
        raise ValueError("expected --maps of at least 1, and --seed and --start of at least 0")

    from ehrpose.analysis.codec.codec_fuzz import print_fuzz

    if not print_fuzz(args.maps, args.seed, args.start):
        raise SystemExit(1)


if __name__ == "__main__":
    run_cli(main)
