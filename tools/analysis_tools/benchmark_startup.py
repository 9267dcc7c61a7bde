"""Measure the time from the command to the first training step, of some steps, and of a validation.

Example: python tools/analysis_tools/benchmark_startup.py configs/ehrnet/demo_synthetic-128.py --steps 100 --photos 100
"""

from __future__ import annotations

import argparse
import time

STARTED = time.perf_counter()


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file with an iteration-based schedule")
    parser.add_argument("--steps", type=int, default=100, help="number of training steps")
    parser.add_argument("--photos", type=int, default=100, help="number of validation images")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.training.startup_benchmark import print_startup_times

    print_startup_times(args.config, args.steps, args.photos, STARTED)


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
