"""Strip a checkpoint for publishing: python tools/misc/publish_model.py IN OUT.

Keeps the weights and basic metadata; removes optimizer, logs, config and paths. Appends the first eight digits of the
SHA-256 to the name: OUT model.pth becomes model-1a2b3c4d.pth.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping
from pathlib import Path

from ehrpose.cli import run_cli
from ehrpose.counted import counted

# Metadata that is useful to others and reveals nothing about the machine it comes from.
KEPT_META = ("kind", "phi", "width", "depth", "num_keypoints", "num_classes", "tag_strides", "epoch", "iter")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("input", metavar="IN", help="training checkpoint")
    parser.add_argument("output", metavar="OUT", help="output file, .pth or .safetensors, without the digits")
    parser.add_argument("--ema", action="store_true", help="require EMA weights; fail if there are none")
    parser.add_argument(
        "--fp16", action="store_true", help="store float16 to halve the file; loads as float32"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Read, strip, write."""
    args = parse_args(argv)
    output = Path(args.output)
    if output.is_dir():
        raise ValueError(f"OUT must be a file, {output} is a folder")

    from ehrpose.engine.checkpoint import checkpoint_beside
    from ehrpose.files import make_parent
    from ehrpose.models.weights.checkpoint import checkpoint_bytes, read_checkpoint, state_dict_of
    from ehrpose.models.weights.half import halved

    checkpoint = read_checkpoint(args.input)
    tensors = state_dict_of(checkpoint, args.input, args.ema)
    if args.fp16:
        try:
            tensors = halved(tensors)
        except ValueError as error:
            raise ValueError(f"{error}: omit --fp16") from error
    old = checkpoint.get("meta")
    meta = {key: old[key] for key in KEPT_META if key in old} if isinstance(old, Mapping) else {}
    data = checkpoint_bytes(tensors, meta, output.suffix)
    final = output.with_name(f"{output.stem}-{hashlib.sha256(data).hexdigest()[:8]}{output.suffix}")
    make_parent(final)
    with checkpoint_beside(final) as partial:
        partial.write_bytes(data)
    print(f"{final}: {counted(len(tensors), 'tensor')}, {len(data) / 2**20:.1f} MB")


if __name__ == "__main__":
    run_cli(main)
