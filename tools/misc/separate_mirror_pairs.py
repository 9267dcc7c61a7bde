"""Find left and right keypoints that a network cannot tell apart: separate_mirror_pairs.py CONFIG CHECKPOINT.

Prints the cosine of the two output rows of each mirror pair. With --out it writes weights in which the rows of pairs
above --above are moved apart, to be trained on from: training does not leave that state by itself for a long time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file of the model")
    parser.add_argument("checkpoint", help="its weights")
    parser.add_argument("--out", help="file to write, .pth or .safetensors; without it nothing is written")
    parser.add_argument(
        "--above",
        type=float,
        default=0.9,
        metavar="COSINE",
        help="pairs that are moved apart, -1 to 1 (default: 0.9)",
    )
    parser.add_argument(
        "--apart",
        type=float,
        default=0.5,
        metavar="SHARE",
        help="half the new difference, in lengths of the pair's mean row (default: 0.5)",
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Read, look, and write if asked."""
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
