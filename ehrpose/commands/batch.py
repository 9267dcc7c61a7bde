"""The command ``ehrpose batch``: many videos and photos, with resume (no torch for exported models)."""

from __future__ import annotations

import argparse
import sys
import time
from importlib.util import find_spec
from typing import Any

from ehrpose.batch.options import ENGINES, FORMATS, SMOOTHING, BatchOptions, parse_shard
from ehrpose.cli import add_cfg_options, add_trust_pt2
from ehrpose.commands.predict import DEFAULT_MODEL, MODEL_HELP, WEIGHTS_HELP
from ehrpose.counted import counted

_AUTO = "auto"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ehrpose batch``."""
    parser.add_argument(
        "inputs",
        nargs="*",
        help="files, folders and globs of images and videos, also s3://...; @FILE is a list",
    )
    parser.add_argument("--list", action="append", default=[], metavar="FILE", help="a file in each line")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder, or s3://...; run again to go on after a stop"
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help=MODEL_HELP)
    parser.add_argument("--weights", help=WEIGHTS_HELP)
    network = parser.add_argument_group("network")
    network.add_argument("--device", help="cpu, cuda:0, ... (default: CUDA if available)")
    network.add_argument("--backend", help="backend of an exported file: onnxruntime, openvino, ...")
    add_trust_pt2(network)
    network.add_argument("--batch-size", type=int, default=1, help="batch size")
    network.add_argument("--mode", choices=["fast", "paper"], default="fast", help="decoding mode")
    network.add_argument("--flip-test", action="store_true", help="also run the mirrored image")
    network.add_argument(
        "--bbox-thr", "--score-thr", type=float, default=0.1, help="drop people below this score"
    )
    add_cfg_options(network)
    output = parser.add_argument_group("output")
    output.add_argument("--format", choices=FORMATS, help="of the tables (default: parquet with pyarrow)")
    output.add_argument("--track", action="store_true", help="track people: each gets a persistent id")
    output.add_argument(
        "--smooth",
        nargs="?",
        const="causal",
        choices=SMOOTHING,
        help="track people and smooth their keypoints: without future frames, or with them (--smooth offline)",
    )
    work = parser.add_argument_group("work")
    work.add_argument("--workers", default=_AUTO, metavar="N", help="processes (default: auto, one per core)")
    work.add_argument("--engine", choices=ENGINES, default=ENGINES[0], help="ray: on a Ray cluster")
    work.add_argument("--address", help="of the Ray cluster, or auto (default: one on this machine)")
    work.add_argument("--threads", dest="num_threads", type=int, help="CPU threads of each worker")
    work.add_argument("--shard", default="1/1", metavar="I/N", help="do the I-th of N parts of the items")
    work.add_argument(
        "--retries", type=int, default=2, help="tries after the first if a worker dies (default: %(default)s)"
    )
    work.add_argument("--retry-failed", action="store_true", help="try broken files again")
    work.add_argument(
        "--piece-frames",
        type=int,
        default=BatchOptions.piece_frames,
        help="frames of a piece of a long video",
    )
    work.add_argument(
        "--item-photos", type=int, default=BatchOptions.item_photos, help="images that are done at a time"
    )


def run(args: argparse.Namespace) -> None:
    """Process all inputs and print a summary.

    Raises:
        ValueError: Options do not fit each other, the model or the folder.
        FileNotFoundError: An input or the model does not exist.
        SystemExit: With code 1 if a file failed or is incomplete, once the others are done; with 128 plus the signal's
            number after Ctrl-C, with what was finished so far kept.
    """
    from ehrpose.batch.inputs import find_inputs
    from ehrpose.batch.run import run_batch
    from ehrpose.media.stopping import StopRequest

    options = _options(args)
    if not args.inputs and not args.list:
        raise ValueError("expected files, folders, globs or lists of images and videos, got none")
    found = find_inputs(args.inputs, args.list)
    if not (found.photos or found.videos):
        raise ValueError("expected images or videos, the lists name none")
    start = time.perf_counter()
    with StopRequest() as stop:
        summary = run_batch(found, args.out, options, lambda: bool(stop), show_progress=True)
    if summary.merged is None:
        assert stop.signal is not None
        done = f"{summary.num_done} of {counted(summary.num_items, 'item')} done"
        print(f"interrupted: {done}; run the same command to go on", file=sys.stderr)
        raise SystemExit(128 + stop.signal)
    _report(summary, args.out, time.perf_counter() - start)


def _options(args: argparse.Namespace) -> BatchOptions:
    names = BatchOptions.__dataclass_fields__
    values = {name: value for name, value in vars(args).items() if name in names}
    values["shard"] = parse_shard(args.shard)
    values["format"] = args.format or ("parquet" if find_spec("pyarrow") else "jsonl")
    if values["format"] == "parquet" and not find_spec("pyarrow"):
        raise ValueError("Parquet needs pyarrow, which is not installed: pip install pyarrow")
    values["workers"] = None
    if args.workers != _AUTO:
        if not args.workers.isdecimal():
            raise ValueError(f"expected `workers` as a number or {_AUTO}, got {args.workers!r}")
        values["workers"] = int(args.workers)
    return BatchOptions(**values)


def _report(summary: Any, out: str, seconds: float) -> None:
    """Print the counts and where the tables are; end with code 1 if something failed."""
    merged = summary.merged
    parts = []
    if merged.whole or merged.incomplete or merged.failed:
        parts.append(counted(merged.whole, "video"))
    if merged.photos or merged.bad_photos:
        parts.append(counted(merged.photos, "image"))
    people = f"{counted(merged.frames, 'frame')}, {counted(merged.people, 'person', 'people')}"
    where = str(out) if merged.table is None else str(merged.table)
    done = f"{summary.num_now} of {counted(summary.num_items, 'item')} done in {seconds:.1f} s"
    print(f"{', '.join(parts)}: {people}; {done}, {summary.model} -> {where}")
    if merged.table is None:
        print(f"{counted(merged.open, 'item')} of other shards not done yet: the last one writes the table")
    for row in merged.errors:
        told = row["error"] if row["file"] in row["error"] else f"{row['file']}: {row['error']}"
        print(told, file=sys.stderr)
    if merged.errors:
        told = f"{merged.failed} failed, {merged.incomplete} incomplete"
        told += f", {counted(merged.bad_photos, 'image')} not read" if merged.bad_photos else ""
        print(f"{told}: see errors.jsonl", file=sys.stderr)
        raise SystemExit(1)
