"""Compare the time of exported networks whose input follows the photo with that of networks of one fixed size.

Example: python tools/analysis_tools/benchmark_sizes.py configs/ehrnet/small_coco-320.py ehrnet-small
"""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, run_cli

BACKENDS = ("onnxruntime", "openvino", "torch")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file")
    parser.add_argument("checkpoint", help="checkpoint file, zoo model, or 'none' for random weights")
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16"], help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=20, help="runs of each (default: %(default)s)")
    parser.add_argument("--num-threads", type=int, default=1, help="CPU threads (default: %(default)s)")
    parser.add_argument(
        "--max-shapes",
        type=int,
        help="OpenVINO: sizes with a compiled network of their own; 0: one network for all",
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if min(args.rounds, args.num_threads) < 1:
        raise ValueError(
            f"expected --rounds and --num-threads of at least 1, got {args.rounds} and {args.num_threads}"
        )
    from ehrpose.analysis.speed.size_benchmark import compare_sizes, table

    checkpoint = None if args.checkpoint == "none" else args.checkpoint
    rows = compare_sizes(
        args.config,
        checkpoint,
        args.backends,
        args.precision,
        args.rounds,
        args.num_threads,
        args.cfg_options,
        args.max_shapes,
    )
    print(
        f"{args.config}, {args.precision}, threads: {args.num_threads}, medians of {args.rounds}, processor time"
    )
    print(table(rows))


if __name__ == "__main__":
    run_cli(main)
