"""Convert a CVAT export, or any COCO keypoint file, to a COCO dataset.

    python tools/dataset_converters/cvat_to_coco.py export.zip --out data/mine

Reads the CVAT formats "COCO Keypoints 1.0" and "CVAT for images 1.1", as a zip, a folder, or the JSON or XML file.
Without --keypoints the skeleton of the export is used and written to `keypoints.py` in the new folder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.datasets.converters import command
from ehrpose.datasets.converters.coco_export import CocoExport
from ehrpose.datasets.converters.cvat import CvatXml
from ehrpose.datasets.converters.photo_search import PhotoSearch
from ehrpose.keypoint_files import load_keypoints
from ehrpose.keypoint_meta import KeypointMeta


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("export", type=Path, help="zip, folder, JSON or XML file")
    parser.add_argument(
        "--photos", type=Path, metavar="FOLDER", help="folder with the images, if not in the export"
    )
    parser.add_argument(
        "--keypoints", type=Path, metavar="FILE", help="config file with the skeleton (variable `keypoints`)"
    )
    parser.add_argument(
        "--label", help="label of the skeletons, or id of their category, if there are several"
    )
    command.add_arguments(parser)
    return parser.parse_args(argv)


def find_annotations(path: Path) -> Path:
    """Return the annotation file of an export.

    Raises:
        FileNotFoundError: The file does not exist, or the folder contains none.
        ValueError: There are several.
    """
    if not path.exists():
        raise FileNotFoundError(f"file or folder not found: {path}")
    if path.is_file():
        if path.suffix.lower() not in (".json", ".xml"):
            raise ValueError(f"expected a zip, a folder, a JSON or an XML file, got {path}")
        return path
    found = sorted({*path.rglob("person_keypoints_*.json"), *path.rglob("annotations.xml")})
    found = found or sorted([*path.glob("*.json"), *path.glob("annotations/*.json")])
    if not found:
        raise FileNotFoundError(f"no person_keypoints_*.json, annotations.xml or other JSON file in {path}")
    if len(found) > 1:
        raise ValueError(
            f"several annotation files ({', '.join(p.name for p in found)}): give the one to convert"
        )
    return found[0]


def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    with command.unpacked(args.export) as export:
        path = find_annotations(export)
        source: CocoExport | CvatXml
        source = CvatXml(path, args.label) if path.suffix.lower() == ".xml" else CocoExport(path, args.label)
        keypoints = None if args.keypoints else source.keypoints()
        meta = load_keypoints(args.keypoints) if keypoints is None else KeypointMeta.build(keypoints)
        root = export if export.is_dir() else path.parent
        # The JSON file of an export is in `annotations`, next to `images`.
        folders = [root] if export.is_dir() or root.name != "annotations" else [root.parent]
        search = PhotoSearch([args.photos] if args.photos else folders)
        photos = source.read(meta, search, command.parse_renames(args.rename), args.ignore)
        if args.symlink and path != args.export and args.export.is_file() and not args.photos:
            raise ValueError(
                "--symlink would link into the temporary folder of the zip file: omit it, or unpack the file first"
            )
        command.write_data_set(args, photos, meta, f"from {args.export.name}", keypoints)
        for note in source.notes:
            print(f"warning: {note}")


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
