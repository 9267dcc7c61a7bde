"""Train, test and visualize a small model on the synthetic dataset, on the CPU, in a few minutes.

`make demo` runs this. It ends with the AP on unseen scenes and a picture of predictions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--config",
        default=str(ROOT / "configs/ehrnet/demo_synthetic-128.py"),
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
    from ehrpose.analysis.training.demo import run_demo

    result = run_demo(args.config, args.work_dir, args.num_scenes)
    print(
        f"\nAP on {result.num_images} scenes never seen in training: {result.ap:.3f} (AP50 {result.ap50:.3f})"
    )
    print(f"checkpoint: {result.checkpoint}")
    print(f"picture of its predictions: {result.picture}")


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
