"""Compare the predictions of several models on a sheet: one row per image, one column per model.

Example: python tools/analysis_tools/compare_models.py photos/ --out sheet.jpg \
    --models H-4=configs/ehrnet/h-4_coco-384.py:h-4.pth int8=work_dirs/int8/end2end.onnx
"""

from __future__ import annotations

import argparse

from ehrpose.cli import add_cfg_options, add_trust_pt2, run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="+", metavar="IMG", help="images, folders or globs")
    parser.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="NAME=FILES",
        help="NAME=CONFIG:CHECKPOINT or NAME=EXPORTED, for example int8=end2end.onnx",
    )
    parser.add_argument("--out", required=True, help="sheet to write")
    parser.add_argument("--ann-file", help="COCO keypoint file, shown in an extra column")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, ...; does not affect exported models")
    parser.add_argument("--mode", choices=["fast", "paper"], default="fast", help="decoding mode")
    parser.add_argument("--kpt-thr", type=float, default=0.3, help="hide keypoints below this score")
    parser.add_argument("--score-thr", type=float, default=0.1, help="drop people below this score")
    parser.add_argument(
        "--cell-size", type=int, nargs=2, default=[480, 360], metavar=("W", "H"), help="cell size, px"
    )
    parser.add_argument("--style", choices=["mmpose", "openpose"], default="mmpose", help="skeleton style")
    parser.add_argument(
        "--color-by", choices=["limb", "person"], default="limb", help="color limbs or people"
    )
    parser.add_argument("--fade", action="store_true", help="fade out uncertain keypoints")
    add_trust_pt2(parser)
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Compare, print and write."""
    args = parse_args(argv)
    from ehrpose.analysis.pictures.model_comparison import compare_models

    compare_models(**vars(args))


if __name__ == "__main__":
    run_cli(main)
