"""Print a config as it is after its base files and options are merged."""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    parser.add_argument(
        "--cfg-options", "--options", nargs="+", action=DictAction, help="replace config values, key=value"
    )
    parser.add_argument(
        "--resolved", action="store_true", help='put values in place of references such as "$codec"'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Load, check and print the config."""
    args = parse_args(argv)
    from ehrpose.config import load_config, resolve

    cfg = load_config(args.config, args.cfg_options)
    print((resolve(cfg) if args.resolved else cfg).pretty_text)


if __name__ == "__main__":
    run_cli(main)
