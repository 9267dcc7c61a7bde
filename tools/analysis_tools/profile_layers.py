"""Print where an exported network's time goes: the slowest nodes, each part of the network, each operator.

Example: python tools/analysis_tools/profile_layers.py work_dirs/deploy/end2end.onnx --backend openvino --top 20
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("network", help="exported file, .onnx or .xml, with its JSON")
    parser.add_argument("--backend", choices=["onnxruntime", "openvino"], help="default: the file's own")
    parser.add_argument("--threads", type=int, default=1, help="threads of the network")
    parser.add_argument("--runs", type=int, default=30, help="runs that count")
    parser.add_argument("--top", type=int, default=20, help="nodes that are listed")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Profile and print."""
    args = parse_args(argv)
    from ehrpose.analysis.speed.layer_profile import profile_layers, report

    print(report(profile_layers(args.network, args.backend, args.threads, args.runs), args.top))


if __name__ == "__main__":
    run_cli(main)
