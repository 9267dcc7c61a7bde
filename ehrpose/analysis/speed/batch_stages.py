"""What an hour of video costs a batch, stage by stage, in processor time, which other programs change little."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ehrpose.analysis.speed.batch_benchmark import FPS, draw_videos
from ehrpose.batch.inputs import find_inputs
from ehrpose.batch.items import WorkItem
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.outputs import Outputs
from ehrpose.batch.planning import make_plan
from ehrpose.batch.process import process_item
from ehrpose.batch.sink import ITEMS, Sink
from ehrpose.batch.worker import ItemWorker
from ehrpose.files import temporary_folder

# In the order in which a batch goes through them.
STAGES = ("look", "read", "find", "store", "join")
_HOUR = 3600.0


@dataclass
class Costs:
    """What an hour of video costs.

    Attributes:
        seconds: Processor seconds for an hour of video, by stage: looking at its packets, decoding, finding people
            (resizing, network, grouping), writing parts, joining them into tables.
        start: Processor seconds of a worker until it has opened its model.
        item_hours: Hours of video in an item.
        video_bytes: Size of an hour of video; likewise ``part_bytes`` and ``table_bytes``.
        people: Mean number of people in a frame.
        model: Name of the model.
    """

    seconds: dict[str, float]
    start: float
    item_hours: float
    video_bytes: float
    part_bytes: float
    table_bytes: float
    people: float = 0.0
    model: str = ""

    @property
    def work(self) -> float:
        """Processor seconds of the workers for an hour of video."""
        return sum(self.seconds[name] for name in ("read", "find", "store"))


@dataclass
class _Clock:
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.process_time()
        yield
        self.seconds[name] += time.process_time() - start


def measure_costs(options: BatchOptions, seconds: float, size_wh: tuple[int, int]) -> Costs:
    """Take one drawn video through the stages, one after the other, in this process with one thread.

    Args:
        options: Model and options.
        seconds: Length of the video.
        size_wh: Its width and height, px.

    Raises:
        FileNotFoundError, ValueError: The model cannot be opened, or a number is not positive.
    """
    if min(seconds, *size_wh) <= 0:
        raise ValueError(f"expected positive numbers, got {seconds} and {size_wh}")
    began = time.process_time()
    worker = ItemWorker(options, 1)
    start = time.process_time() - began
    clock = _Clock()
    with temporary_folder() as folder:
        (video,) = draw_videos(folder, worker.facts.meta, 1, seconds, size_wh)
        sink = Sink(folder / "out")
        sink.make()
        with clock.stage("look"):
            plan = make_plan(find_inputs([video]), sink, options)
        people = _work(plan.items, worker, sink, clock)
        with clock.stage("join"):
            merged = Outputs(plan, sink, options, worker.facts.meta).write()
        assert merged.table is not None
        hours = merged.frames / FPS / _HOUR
        return Costs(
            {name: value / hours for name, value in clock.seconds.items()},
            start,
            hours / len(plan.items),
            Path(video).stat().st_size / hours,
            sum(file.stat().st_size for file in (folder / "out" / ITEMS).iterdir()) / hours,
            Path(merged.table).stat().st_size / hours,
            people / merged.frames,
            worker.predictor.name,
        )


def _work(items: list[WorkItem], worker: ItemWorker, sink: Sink, clock: _Clock) -> int:
    """Do the items, and return the number of people in them."""
    predictor, people = _Timed(worker.predictor), 0
    for item in items:
        used, found = time.process_time(), predictor.seconds
        part = process_item(item, predictor, worker.options.batch_size).part
        found = predictor.seconds - found
        clock.seconds["find"] += found
        clock.seconds["read"] += time.process_time() - used - found  # a thread of its own reads ahead
        with clock.stage("store"):
            record = sink.new_record(item)
            record.frames = len(part.frames)
            record.people = sum(len(frame.people) for frame in part.frames)
            sink.store(item, part, record)
        people += record.people
    return people


class _Timed:
    """A predictor, and the time that it took."""

    def __init__(self, predictor: Any):
        self._predictor, self.seconds = predictor, 0.0
        self.name, self.meta = predictor.name, predictor.meta
        self.maps, self.close = predictor.maps, predictor.close

    def predict(self, images: Any) -> Any:
        start = time.thread_time()  # of this thread alone: the network has no other
        people = self._predictor.predict(images)
        self.seconds += time.thread_time() - start
        return people
