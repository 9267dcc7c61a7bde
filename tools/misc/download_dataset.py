"""Download COCO 2017: resume, verify and unpack images and annotations.

    python tools/misc/download_dataset.py --save-dir data/coco --unzip --delete

Needs 20 GB, and another 20 GB unpacked. Run it again after an interruption.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ehrpose.counted import counted
from ehrpose.datasets.download import REMOTE_DATASETS, download, unpack
from ehrpose.progress import Progress


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset-name", choices=sorted(REMOTE_DATASETS), default="coco2017", help="default: %(default)s"
    )
    parser.add_argument(
        "--save-dir", type=Path, default=Path("data/coco"), help="dataset folder (default: %(default)s)"
    )
    parser.add_argument(
        "--parts", nargs="+", metavar="PART", help="annotations, val, train, test (default: all but test)"
    )
    parser.add_argument("--unzip", action="store_true", help="unpack the archives")
    parser.add_argument("--delete", action="store_true", help="delete each archive after unpacking")
    parser.add_argument("--server", metavar="URL", help="mirror with the same paths")
    parser.add_argument(
        "--retries", type=int, default=5, help="retries when the connection breaks (default: %(default)s)"
    )
    args = parser.parse_args(argv)
    known = list(REMOTE_DATASETS[args.dataset_name].files)
    unknown = [part for part in args.parts or () if part not in known]
    if unknown:
        parser.error(f"--parts: unknown {unknown}; available: {known}")
    if args.delete and not args.unzip:
        parser.error("--delete without --unzip would leave nothing")
    if args.retries < 0:
        parser.error(f"--retries must be at least 0, got {args.retries}")
    return args


def main(argv: list[str] | None = None) -> None:
    """Run the tool."""
    args = parse_args(argv)
    dataset = REMOTE_DATASETS[args.dataset_name]
    for part in args.parts or dataset.default:
        remote = dataset.files[part]
        if (
            args.delete
            and (args.save_dir / remote.marker).exists()
            and not _pending(args.save_dir, remote.name)
        ):
            print(f"{part}: already present, {args.save_dir / remote.marker}")
            continue
        server = args.server or dataset.server
        with Progress(remote.size, remote.name, "bytes") as progress:
            path = download(remote, server, args.save_dir, args.retries, progress.show)
        print(f"{part}: {path}, verified")
        if args.unzip:
            with Progress(None, f"unpacking {remote.name}") as progress:
                count = unpack(path, args.save_dir, progress.show)
            print(f"{part}: {counted(count, 'file')} unpacked")
            if args.delete:
                path.unlink()


def _pending(folder: Path, name: str) -> bool:
    """Whether an interrupted download or unpacking left a zip file, or a part of it."""
    return (folder / name).exists() or (folder / f"{name}.part").exists()


if __name__ == "__main__":
    from ehrpose.cli import run_cli

    run_cli(main)
