"""Detect people in an image, a folder or a glob; write a drawn image and a JSON file for each.

Example: python demo/image_demo.py photos/ configs/ehrnet/h-4_coco-384.py checkpoint.pth --out-dir outputs
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli
from ehrpose.commands.predict import DEFAULT_MODEL, MODEL_HELP, WEIGHTS_HELP, add_options, run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", metavar="img", help="image, folder or glob")
    parser.add_argument("config", nargs="?", help=MODEL_HELP)
    parser.add_argument("weights", metavar="checkpoint", nargs="?", help=WEIGHTS_HELP)
    parser.add_argument("--model", help="same as config")
    add_options(parser)
    args = parser.parse_args(argv)
    if args.model is not None and args.config is not None:
        parser.error(f"--model {args.model} and {args.config} both name a model: give one")
    args.model = args.model or args.config or DEFAULT_MODEL
    return args


def main(argv: list[str] | None = None) -> None:
    """Predict and write; unreadable images are reported and skipped."""
    run(parse_args(argv))


if __name__ == "__main__":
    run_cli(main)
