"""Print how long decoding takes, against the plain decoder and mmpose's, over people and map sizes.

Maps are made from poses of a COCO keypoint json, or of the embedded data set, with stated noise.

Example: python tools/analysis_tools/benchmark_codec.py --labels person_keypoints_val2017.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

HERE = Path(__file__).resolve().parent


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", help="COCO keypoint json for the poses; else the embedded data set's")
    parser.add_argument("--people", type=int, nargs="+", default=[0, 1, 5, 15, 30, 60])
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[384, 512, 768], help="sides of the network input, px; the maps "
        "have a quarter and a half of it"
    )  # fmt: skip
    parser.add_argument("--num-maps", type=int, default=3, help="maps of each number of people and side")
    parser.add_argument("--rounds", type=int, default=15, help="decodes of each map")
    parser.add_argument("--no-plain", action="store_true", help="leave out the plain decoder")
    parser.add_argument(
        "--kernels", action="store_true", help="instead print what each compiled loop is worth: the time without it "
        "over the time with all of them"
    )  # fmt: skip
    parser.add_argument("--peer-python", help="python of a virtual environment with mmpose 1.3.2")
    parser.add_argument("--threads", type=int, default=1, help="threads of OpenCV")
    parser.add_argument(
        "--keypoints", default=str(HERE.parents[1] / "configs/_base_/keypoints/coco.py"),
        help="config file with the skeleton",
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.kernels:
        from ehrpose.analysis.codec.kernel_worth import print_kernels

        print_kernels(
            args.keypoints, args.labels, args.people, args.sides, args.num_maps, args.rounds, args.threads
        )
        return
    from ehrpose.analysis.codec.codec_benchmark import print_benchmark

    print_benchmark(
        args.keypoints, args.labels, args.people, args.sides, args.num_maps, args.rounds, not args.no_plain,
        args.peer_python, HERE / "mmpose_decode.py", args.threads,
    )  # fmt: skip


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
