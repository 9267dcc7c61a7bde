"""Measure the AP of perfect maps: the upper bound of any network with this codec; with --noise, of noisy maps.

Example: python tools/analysis_tools/codec_ceiling.py --labels person_keypoints_val2017.json
With --codec PartAffinity the table also has maps with noise, by default of 0.01 (--noise pixel=0.01), at the network's
and at the photo's size.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from mmengine.config import DictAction

from ehrpose.cli import add_cfg_options


class OptionalDict(DictAction):
    """DictAction that also accepts no pairs."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        if values:
            super().__call__(parser, namespace, values, option_string)
        else:
            setattr(namespace, self.dest, {})


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", help="COCO keypoint file; images are not needed")
    parser.add_argument("--config", help="config with codec, images and test pipeline, instead of --labels")
    add_cfg_options(parser)
    parser.add_argument(
        "--codec",
        default="AssociativeEmbedding",
        choices=["AssociativeEmbedding", "PartAffinity"],
        help="codec of --labels (default: %(default)s); --phi, --targets and --size-divisor are for the first",
    )
    parser.add_argument(
        "--phi",
        type=float,
        nargs="+",
        default=[0, -1, -2, -3, -4],
        help="rows of the table (default: %(default)s)",
    )
    parser.add_argument(
        "--modes", nargs="+", default=["paper", "fast"], choices=["paper", "fast"], help="decoding modes"
    )
    parser.add_argument(
        "--targets",
        nargs="+",
        default=["floor", "unbiased"],
        choices=["floor", "unbiased"],
        help="kinds of targets",
    )
    parser.add_argument(
        "--size-divisor", type=int, default=64, choices=[32, 64], help="round sides up to a multiple of this"
    )
    parser.add_argument(
        "--noise", nargs="*", action=OptionalDict, metavar="KEY=VALUE",
        help="add noise like that of a network; keys override options of Noise",
    )  # fmt: skip
    parser.add_argument(
        "--codec-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="override options of the codec",
    )
    parser.add_argument("--max-images", type=int, help="only use the first n images")
    parser.add_argument(
        "--keypoints", default=str(Path(__file__).resolve().parents[2] / "configs/_base_/keypoints/coco.py"),
        help="config file with the skeleton (default: COCO)",
    )  # fmt: skip
    return parser.parse_args(argv)


def make_noise(values: dict[str, float], noise: Any) -> Any:
    """Return ``noise(**values)``; raise ValueError for an unknown field."""
    unknown = sorted(set(values) - set(noise.__dataclass_fields__))
    if unknown:
        raise ValueError(
            f"--noise has no {', '.join(unknown)}; expected some of {', '.join(noise.__dataclass_fields__)}"
        )
    return noise(**values)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from ehrpose.analysis.codec.codec_ceiling import config_ceiling, print_ceilings
    from ehrpose.analysis.codec.maps_from_labels import Noise
    from ehrpose.config import load_config

    if (args.labels is None) == (args.config is None):
        raise ValueError("give either --labels or --config")
    if args.config is not None:
        numbers = config_ceiling(load_config(args.config, args.cfg_options))
        print(f"ceiling of {args.config}: " + ", ".join(f"{k} {v:.4f}" for k, v in numbers.items()))
        return
    if args.codec == "PartAffinity":
        from ehrpose.analysis.codec.part_ceiling import print_part_ceilings

        unknown = set(args.noise or {}) - {"pixel"}
        if unknown:
            raise ValueError(f"--noise of PartAffinity has no {', '.join(sorted(unknown))}; expected pixel")
        print_part_ceilings(
            args.labels, args.keypoints, args.modes, args.max_images, float((args.noise or {}).get("pixel", 0.01)),
            args.codec_options,
        )  # fmt: skip
        return
    print_ceilings(
        args.labels, args.keypoints, args.phi, args.modes, args.targets, args.size_divisor, args.max_images,
        None if args.noise is None else make_noise(args.noise, Noise), args.codec_options,
    )  # fmt: skip


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
