"""Versions, devices and models for a bug report, without paths or user names."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> None:
    """Print what is installed."""
    import json

    from ehrpose.machine_info import collect_info

    info = collect_info()
    if args.json:
        print(json.dumps(info, indent=2))
        return
    width = max(map(len, info))
    for name, value in info.items():
        print(f"{name:<{width}}  {', '.join(value) if isinstance(value, list) else value}")
