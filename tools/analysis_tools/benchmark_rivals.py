"""Compare the time of a rival in eager torch with the usual decoder with that of its export and our decoder.

Example: python tools/analysis_tools/benchmark_rivals.py configs/rivals/higherhrnet-w32_coco-512.py
"""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file")
    parser.add_argument("--people", type=int, default=5, help="people in the maps (default: %(default)s)")
    parser.add_argument(
        "--precisions",
        nargs="+",
        choices=["fp32", "bf16"],
        default=["fp32"],
        help="of OpenVINO (default: fp32)",
    )
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default: %(default)s)")
    parser.add_argument("--num-threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    parser.add_argument("--labels", help="COCO keypoint file with the poses (default: synthetic poses)")
    add_cfg_options(parser)
    args = parser.parse_args(argv)
    if min(args.people, args.rounds, args.num_threads) < 1:
        parser.error("expected --people, --rounds and --num-threads of at least 1")
    return args


def main(argv: list[str] | None = None) -> None:
    """Measure and print."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.rival_benchmark import compare_with_authors, table

    rows = compare_with_authors(
        args.config,
        args.people,
        args.precisions,
        args.rounds,
        args.num_threads,
        args.labels,
        args.cfg_options,
    )
    print(
        f"{args.config}, threads: {args.num_threads}, people: {args.people}, medians of {args.rounds}, in turns"
    )
    print(table(rows))


if __name__ == "__main__":
    run_cli(main)
