"""Measure the memory and the answers of the web server while many large photos arrive at once.

Example: python tools/analysis_tools/benchmark_web.py ehrnet-small --uploads 40 --megapixels 49
"""

from __future__ import annotations

import argparse


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="zoo model, CONFIG.py:CHECKPOINT or exported file")
    parser.add_argument("--uploads", type=int, default=40, help="simultaneous uploads (default: %(default)s)")
    parser.add_argument("--megapixels", type=float, default=49, help="size of each (default: %(default)s)")
    parser.add_argument(
        "--suffix", default=".jpg", help="format: .jpg, .png, .webp, ... (default: %(default)s)"
    )
    parser.add_argument("--megabytes", type=float, default=0, help="minimum size of each file")
    parser.add_argument("--server", nargs=argparse.REMAINDER, default=[], help="arguments for ehrpose-web")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.speed.web_load import print_web_load

    print_web_load(args.model, args.uploads, args.megapixels, args.suffix, args.megabytes, args.server)


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
