"""Print a config after merging its base files and options."""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="config file")
    add_cfg_options(parser, "--options")
    parser.add_argument(
        "--resolved",
        action="store_true",
        help='replace references such as "$codec" with their values; "$keypoints" stays, to print the skeleton once',
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
