"""Print how many images a second a training step takes: forward, losses, backward; against plain float32.

Example: python tools/analysis_tools/benchmark_training.py configs/ehrnet/h-4_coco-384.py configs/ehrnet/h0_coco-512.py
"""

from __future__ import annotations

import argparse


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", help="config files of the models")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=7, help="steps of each form; the median counts")
    parser.add_argument("--device", help="cpu, cuda:0, ...; default: the best there is")
    parser.add_argument("--threads", type=int, help="threads of torch on the CPU")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.training.train_benchmark import print_train_benchmark

    print_train_benchmark(args.configs, args.batch_size, args.rounds, args.device, args.threads)


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
