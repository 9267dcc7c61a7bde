"""The command ``ehrpose check``: look for faults in the labels and photos of a data set (no torch)."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ehrpose check``."""
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="COCO folder with annotations/ and photos, or one label file"
    )
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="folder of the photos, if it is elsewhere"
    )
    parser.add_argument(
        "--keypoints", type=Path, metavar="FILE", help="skeleton (default: the names in the label file)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all findings as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with pictures of the worst")
    parser.add_argument(
        "--fail-on",
        nargs="+",
        metavar="KIND",
        help="end with code 1 for these kinds' errors and warnings (default: for all errors)",
    )
    parser.add_argument(
        "--known", type=Path, metavar="FILE", help="JSON of an earlier check: its findings are left out"
    )
    parser.add_argument("--no-photos", action="store_true", help="check the labels alone")


def run(args: argparse.Namespace) -> None:
    """Check a data set and print a summary.

    Raises:
        FileNotFoundError: The data set, its photos or another file does not exist.
        ValueError: A file cannot be used, or a kind is unknown.
        SystemExit: With code 1 if there are errors, or findings of the kinds of ``--fail-on``.
    """
    if "numpy" not in sys.modules:  # threads would wait for each other in its small products
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ehrpose.data_check.coco_source import find_label_files, read_labels
    from ehrpose.data_check.kinds import KINDS, find_all
    from ehrpose.data_check.photo_scan import scan_photos
    from ehrpose.data_check.report import as_json, as_lines, failing, without_known
    from ehrpose.data_check.summary import summarise
    from ehrpose.datasets.coco_json import load_json
    from ehrpose.files import write_text
    from ehrpose.keypoint_files import load_keypoints

    unknown = [name for name in args.fail_on or () if name not in KINDS]
    if unknown:
        raise ValueError(f"--fail-on: unknown kind {unknown[0]!r}, expected some of {', '.join(KINDS)}")
    known = None if args.known is None else load_json(args.known)
    meta = None if args.keypoints is None else load_keypoints(args.keypoints)
    labels = read_labels(find_label_files(args.data, args.photos), meta)
    found = find_all(labels, None if args.no_photos else scan_photos(labels.photos))
    left_out = 0
    if known is not None:
        found, left_out = without_known(labels, found, known)
    summary = summarise(labels)
    if args.json is not None:
        write_text(args.json, as_json(labels, summary, found))
    if args.html is not None:
        from ehrpose.data_check.report_page import as_page

        write_text(args.html, as_page(labels, summary, found))
    print("\n".join(as_lines(labels, summary, found)))
    if left_out:
        print(f"left out, as {args.known} has them: {left_out}")
    if failing(found, args.fail_on):
        raise SystemExit(1)
