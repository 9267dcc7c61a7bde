"""Write a sheet of what several models find on the same photos: rows are photos, columns models.

Example: python tools/analysis_tools/compare_models.py photos/ --out sheet.jpg \
    --models H-4=configs/ehrnet/h-4_coco-384.py:h-4.pth int8=work_dirs/int8/end2end.onnx
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
    parser.add_argument("images", nargs="+", metavar="IMG", help="photos, folders or globs")
    parser.add_argument(
        "--models",
        nargs="+",
        required=True,
        metavar="NAME=FILES",
        help="NAME=CONFIG:CHECKPOINT, or NAME=EXPORTED such as end2end.onnx",
    )
    parser.add_argument("--out", required=True, help="picture to write")
    parser.add_argument("--ann-file", help="COCO keypoint json: its people get a column")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, ... (not of exported networks)")
    parser.add_argument("--mode", choices=["fast", "paper"], default="fast", help="how maps become people")
    parser.add_argument("--kpt-thr", type=float, default=0.3, help="keypoints below it are not drawn")
    parser.add_argument("--score-thr", type=float, default=0.1, help="people below it are left out")
    parser.add_argument(
        "--cell-size", type=int, nargs=2, default=[480, 360], metavar=("W", "H"), help="of a photo, px"
    )
    parser.add_argument(
        "--style", choices=["mmpose", "openpose"], default="mmpose", help="look of a skeleton"
    )
    parser.add_argument("--color-by", choices=["limb", "person"], default="limb", help="what has one colour")
    parser.add_argument("--fade", action="store_true", help="draw uncertain keypoints fainter")
    parser.add_argument(
        "--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE", help="replace config values"
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Compare, print and write."""
    args = parse_args(argv)
    from ehrpose.analysis.pictures.model_comparison import compare_models

    compare_models(**vars(args))


if __name__ == "__main__":
    run_cli(main)
