"""Print the AP of perfect maps: what no network over this codec can pass. With --noise, of maps with noise.

Example: python tools/analysis_tools/codec_ceiling.py --labels person_keypoints_val2017.json
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mmengine.config import DictAction


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", help="COCO keypoint json; the photos are not needed")
    parser.add_argument(
        "--config", help="instead of --labels: a config, for its own codec, photos and test pipeline"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help="for --config"
    )
    parser.add_argument("--phi", type=float, nargs="+", default=[0, -1, -2, -3, -4], help="rows of the table")
    parser.add_argument("--modes", nargs="+", default=["paper", "fast"], choices=["paper", "fast"])
    parser.add_argument("--targets", nargs="+", default=["floor", "unbiased"], choices=["floor", "unbiased"])
    parser.add_argument(
        "--size-divisor", type=int, default=64, choices=[32, 64], help="sides are rounded up to it"
    )
    parser.add_argument(
        "--noise", action="store_true", help="make the maps worse, as a network would; see Noise"
    )
    parser.add_argument("--max-images", type=int, help="use the first images only")
    parser.add_argument(
        "--keypoints", default=str(Path(__file__).resolve().parents[2] / "configs/_base_/keypoints/coco.py"),
        help="config file with the skeleton",
    )  # fmt: skip
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    from ehrpose.config import load_config
    from ehrpose.evaluation.codec_ceiling import config_ceiling, print_ceilings

    if (args.labels is None) == (args.config is None):
        raise ValueError("give either --labels or --config")
    if args.config is not None:
        numbers = config_ceiling(load_config(args.config, args.cfg_options))
        print(f"ceiling of {args.config}: " + ", ".join(f"{k} {v:.4f}" for k, v in numbers.items()))
        return
    print_ceilings(
        args.labels, args.keypoints, args.phi, args.modes, args.targets, args.size_divisor, args.max_images,
        args.noise,
    )  # fmt: skip


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
