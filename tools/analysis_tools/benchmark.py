"""Print frames a second of models in several backends and precisions, from the photo's file to people.

Example: python tools/analysis_tools/benchmark.py configs/ehrnet/h-4_coco-384.py --backends torch onnxruntime openvino
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli
from ehrpose.commands.benchmark import add_arguments, run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Export, time and print."""
    run(parse_args(argv))


if __name__ == "__main__":
    run_cli(main)
