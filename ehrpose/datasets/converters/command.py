"""Command-line parts shared by the converters for labelling tools."""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ehrpose.archives import unpack
from ehrpose.counted import counted
from ehrpose.datasets.converters.coco_folder import CocoFolderWriter, new_folder, split_photos
from ehrpose.datasets.converters.labelled import LabelledPhoto, check_unique
from ehrpose.datasets.converters.skeleton_config import one_sided, write_keypoints
from ehrpose.files import temporary_folder
from ehrpose.keypoint_meta import KeypointMeta


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options shared by all converters."""
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="output folder, must be missing or empty"
    )
    parser.add_argument(
        "--val-fraction",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="fraction of the images for validation, may be 0",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the validation split")
    parser.add_argument(
        "--rename",
        nargs="+",
        default=[],
        metavar="LABEL=NAME",
        help="map labels to keypoint names",
    )
    parser.add_argument("--ignore", nargs="+", default=[], metavar="LABEL", help="labels to skip")
    parser.add_argument("--symlink", action="store_true", help="link images instead of copying them")
    parser.add_argument(
        "--skip-bad", action="store_true", help="skip images that cannot be used, and list them"
    )


def parse_renames(pairs: Sequence[str]) -> dict[str, str]:
    """Return label to keypoint name.

    Raises:
        ValueError: A pair is not LABEL=NAME.
    """
    renames = {}
    for pair in pairs:
        label, equals, name = pair.partition("=")
        if not (label and equals and name):
            raise ValueError(f"--rename takes LABEL=NAME, got {pair!r}")
        renames[label] = name
    return renames


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield the path or, for a zip file, a temporary folder with its contents.

    Raises:
        ArchiveError: The zip file is damaged, leads out of its folder, or is beyond the limits of ``ehrpose.archives``.
    """
    if not zipfile.is_zipfile(path):
        yield path
        return
    with temporary_folder() as folder:
        unpack(path, folder)
        yield folder


def write_data_set(
    args: argparse.Namespace,
    photos: Sequence[LabelledPhoto],
    meta: KeypointMeta,
    description: str,
    keypoints: Mapping[str, Any] | None = None,
) -> None:
    """Write the photos as a COCO folder and print a summary.

    Args:
        args: Arguments from ``add_arguments``.
        photos: All photos.
        meta: The skeleton.
        description: Description in the JSON file.
        keypoints: The skeleton's config if the converter made it; written as ``keypoints.py``.
    """
    check_unique(photos)
    parts = split_photos(photos, args.val_fraction, args.seed)
    with new_folder(args.out) as folder:
        writer = CocoFolderWriter(folder, meta, args.symlink, args.skip_bad)
        counts = {split: writer.write(split, part, description) for split, part in parts.items()}
        if not any(people for _, people in counts.values()):
            raise ValueError("no labelled person found in any image")
        if keypoints is not None:
            write_keypoints(keypoints, folder / "keypoints.py")
    for split, (number, people) in counts.items():
        print(f"{split}: {counted(number, 'photo')}, {counted(people, 'person', 'people')}")
    for name, reason in writer.skipped.items():
        print(f"left out: {name}: {reason}")
    print(f"written: {args.out}")
    if keypoints is not None:
        print(f"skeleton: {args.out / 'keypoints.py'}; check its mirror pairs (swap) and sigmas")
        if alone := one_sided(keypoints["names"]):
            print(
                f"warning: no mirror pair found for {', '.join(alone)}: mirrored photos would keep their side"
            )
