"""Detect people in a video, a camera stream or an image sequence; write a drawn video and a JSON file.

Example: python demo/video_demo.py clip.mp4 configs/ehrnet/h-4_coco-384.py checkpoint.pth --out-file people.mp4
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli
from ehrpose.commands.predict import DEFAULT_MODEL, MODEL_HELP, WEIGHTS_HELP, add_options, run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", help="video, webcam:N, or folder or glob of frames")
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument("weights", nargs="?", help=WEIGHTS_HELP)
    add_options(parser)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Predict, draw and write; Ctrl-C keeps the output so far."""
    run(parse_args(argv), as_video=True)


if __name__ == "__main__":
    run_cli(main)
