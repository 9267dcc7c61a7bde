"""Measure training images per second (forward, losses, backward), against plain float32.

Example: python tools/analysis_tools/benchmark_training.py configs/ehrnet/h-4_coco-384.py configs/ehrnet/h0_coco-512.py
"""

from __future__ import annotations

import argparse


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", help="config files")
    parser.add_argument("--batch-size", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="steps per variant; the median is reported")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: the best available)")
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.training.train_benchmark import print_train_benchmark

    print_train_benchmark(args.configs, args.batch_size, args.rounds, args.device, args.threads)


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
