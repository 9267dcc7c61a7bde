"""Write lists of photos that split ImageNet as the EfficientHRNet paper does: 800,000, 150,000 and 50,000.

The first two are drawn from ImageNet's training photos, each class with its share; the third are its validation photos.
The paper does not say which photos it took. Use a list with train_dataloader.dataset.list_file=LISTS/train.txt.
"""

from __future__ import annotations

import argparse

from ehrpose.cli import run_cli


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", help="ImageNet's folder, with train and val")
    parser.add_argument("out", help="folder for train.txt, val.txt and test.txt")
    parser.add_argument("--train", type=int, default=800_000, help="training photos (default: %(default)s)")
    parser.add_argument("--val", type=int, default=150_000, help="validation photos (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default: %(default)s)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Draw and write the lists."""
    args = parse_args(argv)
    from ehrpose.datasets.converters.imagenet_split import split_imagenet

    for name, number in split_imagenet(args.root, args.out, args.train, args.val, args.seed).items():
        print(f"{args.out}/{name}.txt: {number:,} photos")


if __name__ == "__main__":
    run_cli(main)
