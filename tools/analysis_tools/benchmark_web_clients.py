"""Measure the web server with several clients at once, one of which is greedy: photos per second, waits, refusals.

Example: python tools/analysis_tools/benchmark_web_clients.py ehrnet-small --polite 3 --greedy 20 --seconds 60
"""

from __future__ import annotations

import argparse
from pathlib import Path


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="zoo model, CONFIG.py:CHECKPOINT or exported file")
    parser.add_argument(
        "--polite", type=int, default=3, help="clients with one photo at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--greedy", type=int, default=20, help="requests at a time of one more client (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: %(default)s)")
    parser.add_argument("--photo", type=Path, help="image to send (default: a generated one)")
    parser.add_argument("--server", nargs=argparse.REMAINDER, default=[], help="arguments for ehrpose-web")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.speed.web_clients import print_web_clients

    photo = None if args.photo is None else args.photo.read_bytes()
    print_web_clients(args.model, args.polite, args.greedy, args.seconds, photo, args.server)


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
