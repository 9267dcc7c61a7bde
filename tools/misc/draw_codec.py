"""Draw the figure of docs/codec.md: from maps to people, step by step, on a rendered scene.

Example: python tools/misc/draw_codec.py configs/ehrnet/h0_coco-512.py --out docs/images/codec.jpg
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file with codec and skeleton")
    parser.add_argument("--out", required=True, help="image to write")
    parser.add_argument("--seed", type=int, default=7, help="seed of the scene (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Draw and write."""
    args = parse_args(argv)
    from ehrpose.analysis.pictures.codec_gallery import write_codec_gallery

    write_codec_gallery(args.config, args.out, args.seed)
    print(f"written: {args.out}")


if __name__ == "__main__":
    run_cli(main)
