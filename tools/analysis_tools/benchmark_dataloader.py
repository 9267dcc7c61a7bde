"""Measure how many training samples per second one worker produces and where the time goes, against a plain pipeline.

The plain pipeline warps float images, draws targets keypoint by keypoint and passes everything on as float arrays.

Example: python tools/analysis_tools/benchmark_dataloader.py configs/ehrnet/h0_coco-512.py
"""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file with the train_dataloader to measure")
    parser.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--num-batches", type=int, default=12, help="batches per round")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds; the median is reported")
    parser.add_argument("--num-items", type=int, default=100, help="images for the table of steps")
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.training.data_benchmark import print_data_benchmark

    print_data_benchmark(
        args.config, args.cfg_options, args.batch_size, args.num_batches, args.rounds, args.num_items
    )


if __name__ == "__main__":
    run_cli(main)
