"""Import a pose network of Open Model Zoo: python tools/misc/import_omz.py FILE.

FILE is human-pose-estimation-0005, -0006 or -0007 (.xml, with its .bin next to it), known by its SHA-384; or, with
--kind, another version of these, human-pose-estimation-0001, or higher-hrnet-w32-human-pose-estimation (.xml or .onnx).
The network is written once more with the input and outputs that ehrpose uses, and with its sidecar, so that predict,
PoseRuntime and the benchmarks run it. Needs openvino, not torch.
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli
from ehrpose.deploy.omz import KINDS, import_omz


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", metavar="FILE", help=".xml or .onnx file of Open Model Zoo")
    parser.add_argument(
        "--kind", choices=list(KINDS), help="which network it is (default: its SHA-384 tells)"
    )
    parser.add_argument("--out-dir", default="work_dirs/omz", help="output folder (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Import, and print what was written and how to run it."""
    args = parse_args(argv)
    path = import_omz(args.input, args.kind, args.out_dir)
    print(f"{path}: ehrpose predict PHOTO --model {path}")


if __name__ == "__main__":
    run_cli(main)
