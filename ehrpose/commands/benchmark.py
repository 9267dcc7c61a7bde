"""Timing of models, backends and precisions as the command line says."""

from __future__ import annotations

import argparse
import sys

from ehrpose.cli import CfgOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("configs", nargs="+", help="config files")
    parser.add_argument(
        "--backends",
        nargs="+",
        default=["torch", "torch-channels-last", "onnxruntime", "openvino"],
        metavar="NAME[:PRECISION]",
        help="torch, torch-channels-last (the model itself), torch-exported, torch-exported:bf16, onnxruntime, "
        "onnxruntime:int8, openvino, openvino:bf16, openvino:fp16, openvino:int8; ratios are to the first",
    )
    parser.add_argument("--checkpoint", help="weights, for one config; default: random ones")
    parser.add_argument("--images", help="photo, folder or glob; default: a drawn scene")
    parser.add_argument("--calib-data", metavar="DIR", help="photos for int8")
    parser.add_argument("--threads", type=int, default=2, help="threads of the network")
    parser.add_argument("--rounds", type=int, default=30, help="photos timed in each form")
    parser.add_argument(
        "--memory", action="store_true", help="peak memory, each form in a process of its own"
    )
    parser.add_argument(
        "--power",
        choices=["auto", "off"],
        default="auto",
        help="auto: measure energy where a sensor is found (INA3221, RAPL, NVML)",
    )
    parser.add_argument(
        "--power-seconds", type=float, default=10, help="seconds that each form runs for its energy"
    )
    parser.add_argument(
        "--watts", type=float, help="power of the module, package or board, where no sensor is"
    )
    parser.add_argument("--ap", type=float, help="AP of the model, percent, for AE = AP x frames/s / W")
    parser.add_argument("--plot", metavar="PICTURE", help="draw frames a second of each form (.png, .svg)")
    parser.add_argument("--out", metavar="JSON", help="write all times")
    parser.add_argument("--cfg-options", nargs="+", action=CfgOptions, metavar="KEY=VALUE")


def run(args: argparse.Namespace) -> None:
    """Export, time and print."""
    from ehrpose.analysis.speed.benchmark_report import (
        describe_machine,
        describe_power,
        plot,
        table,
        write_json,
    )
    from ehrpose.analysis.speed.deploy_benchmark import BenchmarkOptions, form_of, run_benchmark
    from ehrpose.analysis.speed.power import find_sensors

    sensors, problems = ([], []) if args.power == "off" or args.watts else find_sensors()
    for problem in problems:
        print(problem, file=sys.stderr)
    options = BenchmarkOptions(
        args.images, args.checkpoint, args.threads, args.rounds, args.calib_data, args.cfg_options, args.memory,
        sensors[0] if sensors else None, args.power_seconds,
    )  # fmt: skip
    rows = run_benchmark(args.configs, [form_of(name) for name in args.backends], options)
    machine = describe_machine(args.threads)
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
    print(table(rows, args.watts, args.ap))
    if described := describe_power(rows, args.watts):
        print(described)
    if args.out:
        write_json(rows, machine, args.out)
    if args.plot:
        plot(rows, args.plot, f"{machine['processor']}, {args.threads} threads")
