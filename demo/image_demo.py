"""Find the people of a photo, of all photos of a folder, or of a glob: a picture and a json for each.

Example: python demo/image_demo.py photos/ configs/ehrnet/h-4_coco-384.py checkpoint.pth --out-dir outputs
"""

from __future__ import annotations

import argparse

from ehrpose.cli import CfgOptions, run_cli
from ehrpose.commands.predict import DEFAULT_MODEL, MODEL_HELP, WEIGHTS_HELP


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("img", help="photo, folder or glob")
    parser.add_argument("config", nargs="?", help=MODEL_HELP)
    parser.add_argument("checkpoint", nargs="?", help=WEIGHTS_HELP)
    parser.add_argument("--model", help="the same as config")
    parser.add_argument("--out-file", help="picture to write (one photo only)")
    parser.add_argument("--out-dir", default="outputs", help="folder of the pictures")
    parser.add_argument("--pred-out-dir", help="folder of the json files (default: beside the pictures)")
    parser.add_argument("--device", help="cpu, cuda:0, ... (default: CUDA where there is some)")
    parser.add_argument("--backend", help="of an exported network")
    parser.add_argument("--kpt-thr", type=float, default=0.3, help="keypoints below it are not drawn")
    parser.add_argument("--score-thr", type=float, default=0.1, help="people below it are left out")
    parser.add_argument("--draw-bbox", action="store_true", help="draw a box around each person")
    parser.add_argument("--draw-heatmap", action="store_true", help="lay the heatmaps over the photo")
    parser.add_argument("--draw-tags", action="store_true", help="lay the tags over the photo, as colours")
    parser.add_argument(
        "--style", choices=["mmpose", "openpose"], default="mmpose", help="look of a skeleton"
    )
    parser.add_argument("--color-by", choices=["limb", "person"], default="limb", help="what has one colour")
    parser.add_argument("--fade", action="store_true", help="draw uncertain keypoints fainter")
    parser.add_argument("--show-score", action="store_true", help="write each person's score")
    parser.add_argument("--show-kpt-idx", action="store_true", help="write each keypoint's index")
    parser.add_argument("--black-background", action="store_true", help="draw on black")
    parser.add_argument("--mode", choices=["fast", "paper"], default="fast", help="how maps become people")
    parser.add_argument(
        "--flip-test", action="store_true", help="look at the mirrored photo as well: better, slower"
    )
    parser.add_argument(
        "--cfg-options", nargs="+", action=CfgOptions, metavar="KEY=VALUE", help="replace config values"
    )
    args = parser.parse_args(argv)
    if args.model is not None and args.config is not None:
        parser.error(f"--model {args.model} and {args.config} both name a model: give one")
    args.config = args.model or args.config or DEFAULT_MODEL
    del args.model
    return args


def main(argv: list[str] | None = None) -> None:
    """Predict and write; photos that cannot be read are named and the others done."""
    args = parse_args(argv)
    from ehrpose.engine.image_demo import run_image_demo

    run_image_demo(**vars(args))


if __name__ == "__main__":
    run_cli(main)
