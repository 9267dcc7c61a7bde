"""The command ``ehrpose convert``: labels from one format to another, with their photos (no torch)."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Dict

# Those of the registry, which is not loaded for help and completion.
FORMATS = ("coco", "yolo", "cvat", "labelme", "label-studio", "deeplabcut", "sleap", "ehrpose")
READ_ONLY = ("ehrpose",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ehrpose convert``."""
    parser.add_argument("input", metavar="IN", type=Path, help="labels: a file, a folder or a zip file")
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to create, must be missing or empty")
    written = [name for name in FORMATS if name not in READ_ONLY]
    parser.add_argument("--to", required=True, choices=written, help="format to write")
    parser.add_argument(
        "--from",
        dest="source",
        choices=("auto", *FORMATS),
        default="auto",
        help="format to read (default: auto)",
    )
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="folder with the images, if not next to the labels"
    )
    parser.add_argument(
        "--keypoints", type=Path, metavar="FILE", help="config file with the skeleton (variable `keypoints`)"
    )
    parser.add_argument("--label", help="label or category of the people, if several have keypoints")
    parser.add_argument(
        "--rename", nargs="+", default=[], metavar="LABEL=NAME", help="map labels to keypoint names"
    )
    parser.add_argument("--ignore", nargs="+", default=[], metavar="LABEL", help="labels to skip")
    parser.add_argument(
        "--val-fraction",
        type=float,
        metavar="SHARE",
        help="split again, with this fraction of the images for validation; default: the splits as found",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the validation split")
    parser.add_argument(
        "--kpt-thr", type=float, default=0.3, help="predictions: keypoints below this score are not labelled"
    )
    parser.add_argument("--symlink", action="store_true", help="link images instead of copying them")
    parser.add_argument(
        "--skip-bad", action="store_true", help="skip images that cannot be used, and list them"
    )


def run(args: argparse.Namespace) -> None:
    """Convert labels and print what was done and lost.

    Raises:
        ValueError: The format is not clear, or a label or photo is invalid.
        FileNotFoundError: The labels or a photo do not exist.
        WriteError: The disk is full or fails.
    """
    from ehrpose.datasets.converters.command import unpacked
    from ehrpose.labels.detect import find_format

    with unpacked(args.input) as path:
        if args.symlink and path != args.input and args.photos is None:
            raise ValueError(
                "`symlink` would link into the temporary folder of the zip file: omit it, or unpack the file first"
            )
        try:
            labels = _read(args, path)
        except (ValueError, FileNotFoundError) as error:
            if path == args.input:
                raise
            raise type(error)(str(error).replace(str(path), str(args.input))) from error
        if args.val_fraction is not None:
            labels.split_again(args.val_fraction, args.seed)
        skipped = find_format(args.to).write(labels, args.out, args.symlink, args.skip_bad)
        notes = [note.replace(str(path), str(args.input)) for note in labels.notes]
    _report(args, labels, notes, skipped)


def _read(args: argparse.Namespace, path: Path) -> Any:
    from ehrpose.datasets.converters.command import parse_renames
    from ehrpose.keypoint_files import load_keypoints
    from ehrpose.labels.detect import detect_format, read_labels

    source = detect_format(path) if args.source == "auto" else args.source
    if args.source == "auto":
        print(f"format: {source}")
    return read_labels(
        path,
        load_keypoints(args.keypoints) if args.keypoints else None,
        source,
        photos=args.photos,
        rename=parse_renames(args.rename),
        ignore=args.ignore,
        label=args.label,
        skip_bad=args.skip_bad,
        kpt_thr=args.kpt_thr,
    )


def _report(args: argparse.Namespace, labels: Any, notes: list, skipped: Dict[str, str]) -> None:
    from ehrpose.cli import as_options
    from ehrpose.counted import counted
    from ehrpose.datasets.converters.skeleton_config import one_sided

    for note in notes:
        print(f"warning: {as_options(note)}")
    for split, photos in labels.splits.items():
        kept = [photo for photo in photos if photo.name not in skipped]
        people = sum(len(photo.people) for photo in kept)
        print(f"{split}: {counted(len(kept), 'photo')}, {counted(people, 'person', 'people')}")
    for name, reason in skipped.items():
        print(f"left out: {name}: {reason}")
    for loss in labels.losses:
        print(f"{args.to} cannot hold: {loss}")
    print(f"written: {args.out}")
    skeleton = args.out / "keypoints.py"
    if args.keypoints is None:
        print(f"skeleton: {skeleton}; check its mirror pairs (swap) and sigmas")
        alone = one_sided(labels.meta.names)
        if alone and list(labels.meta.flip_indices) == sorted(labels.meta.flip_indices):
            print(
                f"warning: no mirror pair found for {', '.join(alone)}: mirrored photos would keep their side"
            )
