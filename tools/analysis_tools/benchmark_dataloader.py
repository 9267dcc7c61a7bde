"""Print how many training samples a second one worker makes, and where the time goes, against the plain path.

The plain path warps float images, draws targets by loops over keypoints and sends everything as float arrays.

Example: python tools/analysis_tools/benchmark_dataloader.py configs/ehrnet/h0_coco-512.py
"""

from __future__ import annotations

import argparse

from mmengine.config import DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file whose train_dataloader is measured")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--num-batches", type=int, default=12, help="batches timed in each round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds over the paths; the median counts")
    parser.add_argument("--num-items", type=int, default=100, help="images in the table by step")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, help="key=value, replaces the config's"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.training.data_benchmark import print_data_benchmark

    print_data_benchmark(
        args.config, args.cfg_options, args.batch_size, args.num_batches, args.rounds, args.num_items
    )


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
