"""Options of a batch: those that decide what is found, those of the tables, and those of the run alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from ehrpose.inferencers.options import check_count, check_number

FORMATS = ("parquet", "jsonl")
# How keypoints are smoothed: the tracker's options.
SMOOTHING: Dict[str, Any] = {"causal": {}, "offline": "offline"}
ENGINES = ("processes", "ray")
_SETTINGS = (
    "backend",
    "device",
    "mode",
    "flip_test",
    "batch_size",
    "bbox_thr",
    "piece_frames",
    "item_photos",
)


@dataclass(frozen=True)
class BatchOptions:
    """Options of ``run_batch``.

    Attributes:
        model: As for ``ModelSpec.parse``.
        weights: Checkpoint; ``"none"`` for random ones.
        device: As for ``open_predictor``; likewise ``backend``, ``mode``, ``flip_test``, ``cfg_options`` and
            ``trust_pt2``.
        batch_size: Photos or frames per forward pass.
        bbox_thr: People below this score are dropped, 0 to 1.
        piece_frames: Frames of a piece of a video, about.
        item_photos: Photos of an item.
        track: Give people ids.
        smooth: Give people ids and smooth their keypoints, ``"causal"`` as they come or ``"offline"``; None does not.
        format: ``"parquet"`` or ``"jsonl"``.
        workers: Processes; None: as many as there are cores, and one on a GPU.
        num_threads: CPU threads of each worker; None shares the cores.
        retries: How often an item is tried again whose process ended.
        retry_failed: Also try what failed in an earlier run and has not changed.
        shard: Which part of the items, from 1, of how many.
        engine: ``"processes"`` of this machine, or ``"ray"``.
        address: Of Ray's cluster; None starts one on this machine.

    Raises:
        ValueError: A value is out of range.
    """

    model: str = "ehrnet-small"
    weights: Optional[str] = None
    device: Optional[str] = None
    backend: Optional[str] = None
    mode: str = "fast"
    flip_test: bool = False
    cfg_options: Optional[Mapping[str, Any]] = None
    trust_pt2: bool = False
    batch_size: int = 1
    bbox_thr: float = 0.1
    piece_frames: int = 1000
    item_photos: int = 64
    track: bool = False
    smooth: Optional[str] = None
    format: str = "jsonl"
    workers: Optional[int] = None
    num_threads: Optional[int] = None
    retries: int = 2
    retry_failed: bool = False
    shard: Tuple[int, int] = (1, 1)
    engine: str = "processes"
    address: Optional[str] = None

    def __post_init__(self) -> None:
        check_count("batch_size", self.batch_size, 1)
        check_number("bbox_thr", self.bbox_thr)
        check_count("piece_frames", self.piece_frames, 4)
        check_count("item_photos", self.item_photos, 1)
        check_count("retries", self.retries, 0)
        for name in ("workers", "num_threads"):
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), 1)
        if self.format not in FORMATS:
            raise ValueError(f"format: expected one of {', '.join(FORMATS)}, got {self.format!r}")
        if self.smooth not in (None, *SMOOTHING):
            raise ValueError(f"smooth: expected one of {', '.join(SMOOTHING)}, got {self.smooth!r}")
        if self.engine not in ENGINES:
            raise ValueError(f"engine: expected one of {', '.join(ENGINES)}, got {self.engine!r}")
        if self.address is not None and self.engine != "ray":
            raise ValueError("`address` is that of a Ray cluster: add `engine='ray'`")
        number, count = self.shard
        if not 1 <= number <= count:
            raise ValueError(f"expected `shard` as I/N with I from 1 to N, got {number}/{count}")

    def settings(self) -> Dict[str, Any]:
        """Return the options that decide what is found, as plain values: a folder has one set of them."""
        changes = {key: str(value) for key, value in sorted((self.cfg_options or {}).items())}
        return {**{name: getattr(self, name) for name in _SETTINGS}, "cfg_options": changes}

    @property
    def tracker(self) -> Any:
        """What the inferencer's ``tracker`` takes."""
        return {"smoothing": SMOOTHING[self.smooth]} if self.smooth else self.track


def parse_shard(text: str) -> Tuple[int, int]:
    """Return number and count of ``"2/8"``.

    Raises:
        ValueError: It is something else.
    """
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise ValueError(f"expected `shard` as I/N with I from 1 to N, got {text!r}")
    return int(number), int(count)
