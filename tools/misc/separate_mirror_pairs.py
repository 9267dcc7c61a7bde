"""Find left/right keypoints that a network cannot tell apart: separate_mirror_pairs.py CONFIG CHECKPOINT.

Prints the cosine between the two output rows of each mirror pair. With --out, writes weights with the rows of pairs
above --above moved apart, as a start for further training: training alone is slow to leave that state.
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
    parser.add_argument("checkpoint", help="checkpoint file")
    parser.add_argument("--out", help="output file, .pth or .safetensors (default: write nothing)")
    parser.add_argument(
        "--above",
        type=float,
        default=0.9,
        metavar="COSINE",
        help="move pairs above this cosine apart, -1 to 1 (default: 0.9)",
    )
    parser.add_argument(
        "--apart",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="half the new difference, relative to the length of the mean row (default: 0.5)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Print the cosines, and write weights if requested."""
    args = parse_args(argv)
    out = None if args.out is None else Path(args.out)
    if out is not None and out.is_dir():
        raise ValueError(f"--out must be a file, {out} is a folder")

    from ehrpose.config import load_config, resolve
    from ehrpose.engine.checkpoint import write_weights
    from ehrpose.models.weights.checkpoint import read_state_dict
    from ehrpose.models.weights.mirror_pairs import pair_likeness, separate_pairs
    from ehrpose.registry import MODELS

    model = MODELS.build(resolve(load_config(args.config)).model)
    tensors = read_state_dict(args.checkpoint)
    separated, moved = separate_pairs(model, tensors, args.above, args.apart)
    after = pair_likeness(model, separated)
    names = model.head.codec.meta.names
    for pair, new in zip(pair_likeness(model, tensors), after):
        line = f"{pair.output}  {names[pair.left]}, {names[pair.right]}: cosine {pair.cosine:.3f}"
        print(f"{line} -> {new.cosine:.3f}" if out is not None and pair in moved else line)
    print(f"{len(moved)} of {len(after)} pairs are above {args.above}")
    if out is None:
        return
    write_weights(out, separated, {})
    print(f"{out}: {len(separated)} tensors")


if __name__ == "__main__":
    run_cli(main)
