"""Average the weights of checkpoints: average_checkpoints.py CONFIG CHECKPOINT CHECKPOINT ... --out OUT.

The average of runs that started from the same weights is often better than each of them. A checkpoint may come from a
smaller model that CONFIG extends with blocks that start as identities (zero_init_residual).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="two or more checkpoint files")
    parser.add_argument("--out", required=True, help="output file, .pth or .safetensors")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Read, average, write."""
    args = parse_args(argv)
    out = Path(args.out)
    if out.is_dir():
        raise ValueError(f"--out must be a file, {out} is a folder")

    from ehrpose.config import load_config, resolve
    from ehrpose.engine.checkpoint import write_weights
    from ehrpose.models.weights.averaging import average_checkpoints
    from ehrpose.registry import MODELS

    model = MODELS.build(resolve(load_config(args.config)).model)
    tensors = average_checkpoints(model, args.checkpoints)
    write_weights(out, tensors, {})
    print(f"{out}: {len(tensors)} tensors, the average of {len(args.checkpoints)} checkpoints")


if __name__ == "__main__":
    run_cli(main)
