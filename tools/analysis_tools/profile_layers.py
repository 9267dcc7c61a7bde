"""Profile an exported network: the slowest nodes, time per part of the network and per operator.

Example: python tools/analysis_tools/profile_layers.py work_dirs/deploy/end2end.onnx --backend openvino --top 20
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", help="exported .onnx or .xml file with its JSON")
    parser.add_argument(
        "--backend", choices=["onnxruntime", "openvino"], help="default: the backend it was exported for"
    )
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads")
    parser.add_argument("--runs", type=int, default=30, help="number of timed runs")
    parser.add_argument("--top", type=int, default=20, help="number of nodes to list")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Profile and print."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.layer_profile import profile_layers, report

    print(report(profile_layers(args.network, args.backend, args.threads, args.runs), args.top))


if __name__ == "__main__":
    run_cli(main)
