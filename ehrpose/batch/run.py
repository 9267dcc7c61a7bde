"""A batch from its inputs to its tables: plan, work, merge; again after any interruption with the same call."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from ehrpose.batch.folders import Folder
from ehrpose.batch.inputs import Found
from ehrpose.batch.items import Plan, WorkItem
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.outputs import Merged, Outputs
from ehrpose.batch.planning import make_plan, with_wholes
from ehrpose.batch.progress import NO_PROGRESS, BatchProgress
from ehrpose.batch.sink import Sink
from ehrpose.batch.storage import remove_copies
from ehrpose.batch.worker import ModelFacts
from ehrpose.batch.workers import BatchError, Workers
from ehrpose.cpu import available_cores
from ehrpose.inferencers.zoo_form import has_nvidia
from ehrpose.version import __version__

RUN = "run.json"
_FORMAT = 1
# Rounds of work and merging: a second one for videos that cannot be cut, a third for damaged parts.
_ROUNDS = 5


@dataclass
class Summary:
    """What came of a batch.

    Attributes:
        merged: What is in the outputs; None after a stop request.
        model: Name of the model.
        num_items: Items of this shard.
        num_done: Items of it that are settled.
        num_now: Items that this run has done.
    """

    merged: Optional[Merged]
    model: str
    num_items: int
    num_done: int
    num_now: int = 0


def run_batch(
    found: Found,
    out: Union[str, Path],
    options: Optional[BatchOptions] = None,
    is_stopped: Callable[[], bool] = lambda: False,
    show_progress: bool = False,
) -> Summary:
    """Process photos and videos into a folder; what is there already is not done again.

    Args:
        found: See ``find_inputs``.
        out: Folder, or an address of fsspec; it belongs to one model and one set of options.
        options: Model and options; None takes the defaults.
        is_stopped: Asked often; once it is true, workers end at once and finished parts stay.
        show_progress: Show how far it is, on stderr.

    Raises:
        FileNotFoundError: The model is not there.
        ValueError: The model cannot be used, or the folder has results of another one or of other options.
        BatchError: Workers cannot be kept running.
        PermissionError, NotADirectoryError, WriteError, StorageError: The folder cannot be written to.
    """
    options = options or BatchOptions()
    sink = Sink(out)
    kept = read_run(sink.files)
    sink.make()
    sink.run = "" if kept is None else digest_of_run(kept)
    plan = make_plan(found, sink, options, is_stopped)
    if is_stopped():
        return Summary(None, options.model, len(plan.of_shard(*options.shard)), 0)
    try:
        return _work_and_merge(plan, sink, options, share_cores(options, kept), is_stopped, show_progress)
    finally:
        sink.tidy()
        remove_copies()


def _work_and_merge(
    plan: Plan,
    sink: Sink,
    options: BatchOptions,
    cores: Tuple[int, int],
    is_stopped: Callable[[], bool],
    show_progress: bool,
) -> Summary:
    num_open = len(_open_items(plan, sink, options))
    engine: Any = Workers
    if options.engine == "ray":
        from ehrpose.batch.ray_engine import RayWorkers

        engine = RayWorkers
    with engine(options, max(1, min(cores[0], num_open)), cores[1], sink, is_stopped) as workers:
        facts = workers.model()
        if facts is None:
            return Summary(None, options.model, len(plan.of_shard(*options.shard)), 0)
        sink.run = claim_folder(sink.files, facts, options)
        workers.begin()
        for _ in range(_ROUNDS):
            _work(workers, _open_items(plan, sink, options), plan, options, show_progress)
            merged = None if is_stopped() else Outputs(plan, sink, options, facts.meta).write()
            plan = with_wholes(plan, sink)
            num_items = len(plan.of_shard(*options.shard))
            num_open = len(_open_items(plan, sink, options))
            if merged is None or not num_open:
                name = str(facts.identity["name"])
                return Summary(merged, name, num_items, num_items - num_open, workers.num_done)
    raise BatchError(f"{sink.out}: parts are damaged as often as they are written: is the disk in order?")


def _open_items(plan: Plan, sink: Sink, options: BatchOptions) -> List[WorkItem]:
    mine, seen = plan.of_shard(*options.shard), sink.seen()
    return [item for item in mine if sink.is_open(sink.record(item, seen), options.retry_failed)]


def _work(workers: Workers, items: List[WorkItem], plan: Plan, options: BatchOptions, shows: bool) -> None:
    progress = BatchProgress(items, len(plan.of_shard(*options.shard))) if shows and items else NO_PROGRESS
    try:
        workers.run(items, progress)
    finally:
        progress.end()


def share_cores(options: BatchOptions, kept: Optional[Dict[str, Any]] = None) -> Tuple[int, int]:
    """Return the number of workers and of CPU threads of each.

    Args:
        options: What the user chose of these.
        kept: The folder's ``run.json``; with torch, digits depend on the threads, so they stay.
    """
    cores, threads = available_cores(), options.num_threads
    if threads is None and kept is not None:
        threads = kept["model"].get("num_threads")
    on_gpu = has_nvidia() if options.device is None else options.device.startswith("cuda")
    count = options.workers or (1 if on_gpu else max(1, cores // (threads or 1)))
    return count, threads or max(1, cores // count)


def read_run(folder: Folder) -> Optional[Dict[str, Any]]:
    """Return what a folder's ``run.json`` says; None if there is none.

    Raises:
        ValueError: It is not that of a batch.
    """
    found = folder.read(RUN)
    if found is None:
        return None
    try:
        content = json.loads(found)
        if content["format"] == _FORMAT and {"version", "model", "settings"} <= set(content):
            return dict(content)
    except (ValueError, LookupError, TypeError):
        pass
    raise ValueError(f"{folder.where(RUN)} is not the {RUN} of a batch: choose another folder")


def digest_of_run(content: Dict[str, Any]) -> str:
    """Return the digest by which parts belong to a ``run.json``."""
    told = {name: content[name] for name in ("format", "version", "model", "settings")}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode("utf-8")).hexdigest()


def claim_folder(folder: Folder, facts: ModelFacts, options: BatchOptions) -> str:
    """Write a folder's ``run.json``, or compare it; return its digest.

    Raises:
        ValueError: The folder has results of another model, version or options.
        BatchError: It can be neither written nor read.
    """
    content: Dict[str, Any] = {
        "format": _FORMAT, "version": __version__, "model": facts.identity, "settings": options.settings(),
        "keypoints": facts.meta.to_dict(),
    }  # fmt: skip
    content = json.loads(json.dumps(content))
    out, kept = folder.root, None
    for _ in range(_ROUNDS):
        if folder.create(RUN, (json.dumps(content, indent=1) + "\n").encode("utf-8")):
            return digest_of_run(content)
        kept = read_run(folder)
        if kept is not None:
            break
    if kept is None:
        raise BatchError(f"{folder.where(RUN)} can be neither written nor read")
    if kept["version"] != content["version"]:
        raise ValueError(
            f"{out} has results of ehrpose {kept['version']}, this is {content['version']}: choose another folder"
        )
    for name, value in content["settings"].items():
        if kept["settings"].get(name) != value:
            raise ValueError(
                f"{out} has results with `{name}` {kept['settings'].get(name)}, got {value}: choose another folder, "
                "or the options of before"
            )
    if kept["model"] != content["model"]:
        before, now = (_named(one["model"]) for one in (kept, content))
        raise ValueError(f"{out} has results of another model, {before}, got {now}: choose another folder")
    return digest_of_run(kept)


def _named(model: Dict[str, Any]) -> str:
    told = {**model, "sha256": str(model.get("sha256"))[:8]}
    return " ".join(f"{name} {value}" for name, value in told.items())
