"""Train a model: python tools/train.py CONFIG."""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli
from ehrpose.commands.train import add_arguments, run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Train as the config and the options say."""
    run(parse_args(argv))


if __name__ == "__main__":
    run_cli(main)
