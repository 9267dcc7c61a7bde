"""``ehrpose config``: print a config as one complete file, to start one's own from."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "name", nargs="?", help="config file, zoo model or config name such as h-3; default: list the names"
    )


def run(args: argparse.Namespace) -> None:
    """Print the config, or the names of all."""
    from ehrpose.config_names import find_config, own_configs

    if args.name is None:
        print("\n".join(path.stem for path in own_configs()))
        return
    path = find_config(args.name)
    from ehrpose.config import load_config
    from ehrpose.config_text import config_text

    print(config_text(load_config(path)))
