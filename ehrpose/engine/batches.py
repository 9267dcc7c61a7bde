"""Refuse a run whose data loader would give no batch: MMEngine ends it as a success, without one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dist import all_gather_object, get_world_size

from ehrpose.counted import counted

_NOTHING_DONE = {"train": "trained", "val": "validated", "test": "tested"}


def check_batches(part: str, loader: Any) -> None:
    """Raise ValueError if a data loader gives no batch; to be called in all processes.

    In training each process needs a batch: the others would wait for it forever. In validation and test one of them is
    enough.

    Args:
        part: ``"train"``, ``"val"`` or ``"test"``.
        loader: The data loader; one of unknown length is accepted.
    """
    counts = all_gather_object(_num_batches(loader))
    known = [count for count in counts if count is not None]
    enough = all(known) if part == "train" else any(known) or len(known) < len(counts)
    if not enough:
        raise ValueError(
            f"{part}_dataloader: {_reason(loader, known)}: nothing would be {_NOTHING_DONE[part]}"
        )


def _num_batches(loader: Any) -> int | None:
    """Return the number of batches of this process in one pass, None if it cannot be known."""
    samplers = _samplers(loader)
    if any(isinstance(sampler, InfiniteSampler) for sampler in samplers):
        return None if len(loader.dataset) else 0
    return len(loader) if hasattr(loader.dataset, "__len__") else None


def _samplers(loader: Any) -> list[Any]:
    """Return the sampler of a loader and those that it wraps."""
    found: list[Any] = []
    # Empty samplers count as false.
    sampler = loader.sampler if loader.batch_sampler is None else loader.batch_sampler
    while sampler is not None and sampler not in found:
        found.append(sampler)
        sampler = getattr(sampler, "sampler", None)
    return found


def _reason(loader: Any, counts: Sequence[int]) -> str:
    photos, processes = len(loader.dataset), get_world_size()
    if not photos:
        return "the data set has no photos"
    number = counted(photos, "photo")
    among = f" for {processes} processes" if processes > 1 else ""
    verb = "is" if photos == 1 else "are"
    size = getattr(loader.batch_sampler, "batch_size", None)
    if size and getattr(loader.batch_sampler, "drop_last", False):
        each = " each" if processes > 1 else ""
        return (
            f"{number}{among} {verb} fewer than a batch of {size}{each} with drop_last; "
            "set a smaller batch_size, or drop_last=False"
        )
    if processes > photos:
        return f"{number}{among} {verb} too few for a batch each"
    return f"{number}{among}, but the sampler {type(_samplers(loader)[-1]).__name__} gives no batch"
