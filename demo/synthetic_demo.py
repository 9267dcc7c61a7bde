"""Train, test and draw on the embedded data set, on the CPU, in a few minutes.

`make demo` runs this. It ends by naming the AP on scenes that were never seen and the picture of predictions.
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
        help="config of the model to train",
    )
    parser.add_argument(
        "--work-dir", default="work_dirs/demo", help="folder of logs, checkpoints and the picture"
    )
    parser.add_argument("--num-scenes", type=int, default=12, help="scenes in the picture")
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
