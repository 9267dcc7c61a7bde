"""``ehrpose benchmark`` and tools/analysis_tools/benchmark.py."""

from __future__ import annotations

import argparse
import sys

from ehrpose.cli import add_cfg_options
from ehrpose.counted import counted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("configs", nargs="+", help="config files, zoo models, or config names such as h-3")
    parser.add_argument(
        "--backends",
        nargs="+",
        default=["torch", "torch-channels-last", "onnxruntime", "openvino"],
        metavar="NAME[:PRECISION]",
        help="torch, torch-channels-last (the model itself), torch-exported, torch-exported:bf16, onnxruntime, "
        "onnxruntime:int8, openvino, openvino:bf16, openvino:fp16, openvino:int8; ratios are relative to the first",
    )
    parser.add_argument("--checkpoint", help="checkpoint of a single config (default: random weights)")
    parser.add_argument("--images", help="image, folder or glob (default: a rendered scene)")
    parser.add_argument("--calib-data", metavar="DIR", help="folder of calibration images for int8")
    parser.add_argument("--threads", type=int, default=2, help="number of CPU threads (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=30, help="images timed per variant (default: %(default)s)"
    )
    parser.add_argument(
        "--memory", action="store_true", help="also measure peak memory, each variant in its own process"
    )
    parser.add_argument(
        "--power",
        choices=["auto", "off"],
        default="auto",
        help="auto: measure energy if a sensor is found (INA3221, RAPL, NVML)",
    )
    parser.add_argument(
        "--power-seconds",
        type=float,
        default=10,
        help="seconds per variant for the energy measurement (default: %(default)s)",
    )
    parser.add_argument(
        "--watts", type=float, help="power of the module, package or board in W, if there is no sensor"
    )
    parser.add_argument("--ap", type=float, help="AP of the model in percent, for AE = AP x frames/s / W")
    parser.add_argument(
        "--plot", metavar="IMAGE", help="plot the frames per second of each variant (.png, .svg)"
    )
    parser.add_argument("--out", metavar="JSON", help="write all timings")
    add_cfg_options(parser)


def run(args: argparse.Namespace) -> None:
    """Export, time and print."""
    from ehrpose.config_names import find_config

    args.configs = [find_config(config) for config in args.configs]
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
        plot(rows, args.plot, f"{machine['processor']}, {counted(args.threads, 'thread')}")
