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
        "--resolved",
        action="store_true",
        help='put values in place of references such as "$codec"; "$keypoints" stays, the skeleton is printed once',
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Load, check and print the config."""
    args = parse_args(argv)
    from ehrpose.config import load_config, resolve
    from ehrpose.config_text import config_text

    cfg = load_config(args.config, args.cfg_options)
    print(config_text(resolve(cfg, keep=("keypoints",)) if args.resolved else cfg))


if __name__ == "__main__":
    run_cli(main)
