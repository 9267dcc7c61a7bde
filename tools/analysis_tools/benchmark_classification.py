"""Measure training images per second of a classifier, against timm's EfficientNet-B0 if it is installed.

Example: python tools/analysis_tools/benchmark_classification.py b0_imagenet --threads 2
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", nargs="?", default="b0_imagenet", help="config (default: %(default)s)")
    parser.add_argument("--rival", default="efficientnet_b0", help="timm's network (default: %(default)s)")
    parser.add_argument("--side", type=int, help="side of the images, px (default: the config's)")
    parser.add_argument("--batch-size", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each form; the median is reported")
    parser.add_argument("--threads", type=int, help="number of CPU threads")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    from ehrpose.analysis.training.classifier_benchmark import print_classifier_benchmark
    from ehrpose.config_names import find_config

    print_classifier_benchmark(
        find_config(args.config), args.rival, args.side, args.batch_size, args.rounds, args.threads
    )


if __name__ == "__main__":
    run_cli(main)
