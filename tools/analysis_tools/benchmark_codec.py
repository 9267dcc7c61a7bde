"""Measure decoding times by number of people and map size, against a plain decoder and MMPose's.

Maps are made from the poses of a COCO keypoint file or of the synthetic dataset, with known noise.

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
    parser.add_argument(
        "--codec",
        default="AssociativeEmbedding",
        choices=["AssociativeEmbedding", "PartAffinity", "PersonLab"],
        help="of PartAffinity, fast mode is compared with paper mode, which does what its authors' code does; "
        "PersonLab with a plain decoder of its own, its sides rounded to multiples of 16, plus 1 (default: "
        "%(default)s)",
    )
    parser.add_argument("--labels", help="COCO keypoint file with the poses (default: synthetic poses)")
    parser.add_argument(
        "--people", type=int, nargs="+", default=[0, 1, 5, 15, 30, 60], help="numbers of people"
    )
    parser.add_argument(
        "--sides", type=int, nargs="+", default=[384, 512, 768], help="sides of the network input, px; "
        "the maps have a quarter and a half of it"
    )  # fmt: skip
    parser.add_argument("--num-maps", type=int, default=3, help="maps per number of people and side")
    parser.add_argument("--rounds", type=int, default=15, help="decodings per map")
    parser.add_argument("--no-plain", action="store_true", help="skip the plain decoder")
    parser.add_argument(
        "--kernels", action="store_true", help="instead print the speed-up of each compiled loop: the time without it "
        "over the time with all of them"
    )  # fmt: skip
    parser.add_argument("--peer-python", help="Python of an environment with MMPose 1.3.2, to compare with")
    parser.add_argument("--threads", type=int, default=1, help="number of OpenCV threads")
    parser.add_argument(
        "--keypoints", default=str(HERE.parents[1] / "configs/_base_/keypoints/coco.py"),
        help="config file with the skeleton (default: COCO)",
    )  # fmt: skip
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.codec != "AssociativeEmbedding":
        from ehrpose.analysis.codec.part_benchmark import print_part_benchmark
        from ehrpose.analysis.codec.personlab_benchmark import print_personlab_benchmark

        benchmark = print_part_benchmark if args.codec == "PartAffinity" else print_personlab_benchmark
        benchmark(
            args.keypoints, args.labels, args.people, args.sides, args.num_maps, args.rounds, args.threads
        )
        return
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
