"""Train, test and visualize a small model on the synthetic dataset, on the CPU, in a few minutes.

`make demo` runs this. It ends with the AP on unseen scenes and a picture of predictions.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

NEXT = """
This model knows drawn people only. Next, with the model for photos that comes with ehrpose:
  {python} -m ehrpose predict PHOTO.jpg --out-dir outputs
To train on your own photos: docs/finetuning.md"""
ROOT = Path(__file__).resolve().parent.parent


DEFAULT = ROOT / "configs/ehrnet/demo_synthetic-128.py"


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config",
        default=str(DEFAULT),
        help="config file (default: demo_synthetic-128)",
    )
    parser.add_argument(
        "--work-dir",
        default="work_dirs/demo",
        help="folder for logs, checkpoints and the picture (default: %(default)s)",
    )
    parser.add_argument(
        "--num-scenes", type=int, default=12, help="scenes in the picture (default: %(default)s)"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    is_default = Path(args.config).resolve() == DEFAULT
    minutes = ": 1,800 steps, 5 to 10 minutes on two CPU cores" if is_default else ""
    print(f"Training on drawn people{minutes}. The log goes to {args.work_dir}.", flush=True)
    from ehrpose.analysis.training.demo import run_demo

    result = run_demo(args.config, args.work_dir, args.num_scenes)
    print(
        f"\nAP on {result.num_images} scenes never seen in training: {result.ap:.3f} (AP50 {result.ap50:.3f})"
    )
    print(f"checkpoint: {result.checkpoint}")
    print(f"picture of its predictions: {result.picture}")
    if is_default:
        print("Expected AP: about 0.7 (0.706 and 0.707 on two machines, docs/benchmarks.md).")
    print(NEXT.format(python=sys.executable))


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
