"""Print frames a second of models in several backends and precisions, from the photo's file to people.

Example: python tools/analysis_tools/benchmark.py configs/ehrnet/h-4_coco-384.py --backends torch onnxruntime openvino
"""

from __future__ import annotations

import argparse

from mmengine.config import DictAction

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("configs", nargs="+", help="config files")
    parser.add_argument(
        "--backends",
        nargs="+",
        default=["torch", "torch-channels-last", "onnxruntime", "openvino"],
        metavar="NAME[:PRECISION]",
        help="torch, torch-channels-last, onnxruntime, onnxruntime:int8, openvino, openvino:bf16, openvino:int8; "
        "ratios are to the first",
    )
    parser.add_argument("--checkpoint", help="weights, for one config; default: random ones")
    parser.add_argument("--images", help="photo, folder or glob; default: a drawn scene")
    parser.add_argument("--calib-data", metavar="DIR", help="photos for int8")
    parser.add_argument("--threads", type=int, default=2, help="threads of the network")
    parser.add_argument("--rounds", type=int, default=30, help="photos timed in each form")
    parser.add_argument(
        "--watts", type=float, help="power of the module, package or board, for frames/s per watt"
    )
    parser.add_argument("--out", metavar="JSON", help="write all times")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Export, time and print."""
    args = parse_args(argv)
    from ehrpose.evaluation.deploy_benchmark import print_rows, run_benchmark

    forms = []
    for name in args.backends:
        backend, _, precision = name.partition(":")
        forms.append((backend.replace("torch-channels-last", "torch, channels_last"), precision or "fp32"))
    rows = run_benchmark(
        args.configs,
        forms,
        args.images,
        args.checkpoint,
        args.threads,
        args.rounds,
        args.calib_data,
        args.cfg_options,
    )
    print_rows(rows, args.threads, args.out, args.watts)


if __name__ == "__main__":
    run_cli(main)
