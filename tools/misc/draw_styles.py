"""Draw the figure of docs/drawing.md, a rendered scene in every drawing style, or print the table of drawing times.

Example: python tools/misc/draw_styles.py configs/ehrnet/h0_coco-512.py --out docs/images/drawing_styles.jpg
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="config file with the skeleton")
    parser.add_argument("--out", help="image to write")
    parser.add_argument("--time", action="store_true", help="print the drawing time of each style")
    parser.add_argument("--seed", type=int, default=7, help="seed of the scene (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Draw and write, or time."""
    args = parse_args(argv)
    from ehrpose.analysis.pictures.style_gallery import print_drawing_times, write_style_gallery

    if args.out is None and not args.time:
        raise ValueError("nothing to do: give --out, --time, or both")
    if args.out is not None:
        write_style_gallery(args.config, args.out, args.seed)
    if args.time:
        print_drawing_times(args.config)


if __name__ == "__main__":
    run_cli(main)
