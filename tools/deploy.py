"""Export a model for a device: python tools/deploy.py CONFIG CHECKPOINT --backend onnxruntime --work-dir DIR.

Writes end2end.onnx and a JSON that says how to run it, after checking that it gives what the model gives. For
TensorRT the engine too, where TensorRT is installed; else exit code 2 and the commands that build it on the device.
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli
from ehrpose.commands.deploy import add_arguments, run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Export, check, and say what was written."""
    run(parse_args(argv))


if __name__ == "__main__":
    run_cli(main)
