"""Workers on a Ray cluster: Ray Data maps the items over actors with an open model, on whatever nodes there are.

Parts and records go where those of local workers go, so either can go on where the other stopped. All nodes see inputs,
model and folder under the same names, and have the same ehrpose. An actor that ends with its node is replaced by Ray,
and its item is done again in the next round; a record tells what was done just before.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import numpy as np

from ehrpose.batch.items import WorkItem
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.progress import NO_PROGRESS
from ehrpose.batch.sink import RUN, Sink
from ehrpose.batch.worker import BUSY, DONE, FAILED, ItemWorker, ModelFacts, as_sent
from ehrpose.counted import counted

# Items of one data set: each is a block of its own, which Ray holds in memory.
_ROUND = 1000
# Seconds between looks at a stop request, and at items that another run works on.
_TURN, _WAIT = 0.2, 1.0
_END = object()


def _advice() -> str:
    """Return what may be missing: Ray asks for a token once a program has left one, but shows it only if told to."""
    has_token = os.path.exists(os.path.expanduser("~/.ray/auth_token"))
    return (
        "; if the cluster asks for a token, set RAY_AUTH_MODE=token"
        if has_token and "RAY_AUTH_MODE" not in os.environ
        else ""
    )


class ItemActor:
    """Does items in a process of Ray's, which opens the model once.

    Args:
        options: Model and options.
        num_threads: CPU threads of the network.
        sink: Where parts belong.
        folder: The working folder, by which relative names are meant.
    """

    def __init__(self, options: BatchOptions, num_threads: int, sink: Sink, folder: str):
        os.chdir(folder)
        import cv2

        cv2.setNumThreads(num_threads)
        self._worker, self._sink = ItemWorker(options, num_threads), sink

    def __call__(self, batch: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """Do the items of a batch of rows; the arrays that Ray hands over cannot be written to."""
        outcomes, frames, errors = [], [], []
        for content in batch["item"]:
            count: List[int] = []
            try:
                outcomes.append(self._worker.do(pickle.loads(content), self._sink, count.append))
                errors.append(b"")
            except (
                OSError
            ) as error:  # the folder cannot be written to: that ends the batch, not just the item
                outcomes.append(FAILED)
                errors.append(pickle.dumps(as_sent(error)))
            frames.append(sum(count))
        return {
            "place": np.asarray(batch["place"]),
            "outcome": np.asarray(outcomes),
            "frames": np.asarray(frames),
            "error": np.asarray(errors, object),
        }


class RayWorkers:
    """Actors with an open model, in place of ``Workers`` and with the same methods.

    Args:
        options: Model and options; ``address`` is that of the cluster, None starts one on this machine.
        count: Number of actors, if ``options.workers`` says so; else as many as the cluster has room for.
        num_threads: CPU threads of each, which are reserved for it.
        sink: Where the parts belong.
        is_stopped: Asked often; once it is true, ``run`` returns.

    Attributes:
        num_done: Items that these actors have done, with those that failed.

    Raises:
        ModuleNotFoundError: Ray is not installed.
        ValueError: There is no cluster at the address.
    """

    def __init__(
        self,
        options: BatchOptions,
        count: int,
        num_threads: int,
        sink: Sink,
        is_stopped: Callable[[], bool] = lambda: False,
    ):
        import ray
        import ray.data

        self.options, self.sink, self.num_done = options, sink, 0
        self._ray, self._count, self._threads, self._is_stopped = ray, count, num_threads, is_stopped
        self._folder = os.getcwd()
        self._is_own = not ray.is_initialized()
        if self._is_own:
            try:
                ray.init(address=options.address, log_to_driver=False)
            except (ConnectionError, RuntimeError) as error:
                raise ValueError(
                    f"no Ray cluster at `address` {options.address}: {error}{_advice()}"
                ) from error
        self._num_gpus = int((options.device or "").startswith("cuda"))  # otherwise Ray hides them
        _prepare(ray.data.DataContext.get_current())

    def model(self) -> Optional[ModelFacts]:
        """Return the facts of the model, which one process of the cluster opens; None after a stop request.

        Raises:
            FileNotFoundError, ValueError: It cannot be opened.
        """
        task = self._ray.remote(_open).options(
            num_cpus=self._threads, num_gpus=self._num_gpus, max_retries=self.options.retries
        )
        waiting = task.remote(self.options, self._threads, self._folder)
        while not self._is_stopped():
            if self._ray.wait([waiting], timeout=_TURN)[0]:
                found = self._ray.get(waiting)
                if isinstance(found, Exception):
                    raise found
                facts: ModelFacts = found
                return facts
        return None

    def begin(self) -> None:
        """Do nothing: actors start with the first items."""

    def run(self, items: Sequence[WorkItem], progress: Any = None) -> None:
        """Do items; arguments and errors as for ``Workers.run``."""
        progress, left = progress or NO_PROGRESS, list(items)
        deaths: Dict[str, int] = {}
        while left and not self._is_stopped():
            busy: List[WorkItem] = []
            lost: List[WorkItem] = []
            for start in range(0, len(left), _ROUND):
                # Ray ends the actors of the round before, which hold cores, once nothing refers to them: objects in
                # circles do, and Ray itself sees to those only after ten seconds or more.
                gc.collect()
                self._map(left[start : start + _ROUND], busy, lost, progress)
            if self._is_stopped():
                return
            left = [item for item in lost if self._is_tried_again(item, deaths, progress)]
            waiting = [item for item in busy if self._is_open(item, progress)]
            if waiting:
                progress.wait(len(waiting))
                time.sleep(_WAIT)
            left += waiting

    def close(self) -> None:
        """End the actors, and the cluster if it was started here."""
        if self._is_own:
            self._ray.shutdown()

    def __enter__(self) -> RayWorkers:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _room(self) -> int:
        """Return how many actors the nodes have room for; a node that is lost still counts for a while."""
        room = 0
        for node in self._ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                fitting = int(has.get("CPU", 0)) // self._threads
                room += min(fitting, int(has.get("GPU", 0))) if self._num_gpus else fitting
        return max(1, room)

    def _is_open(self, item: WorkItem, progress: Any) -> bool:
        if self.sink.is_open(self.sink.record(item), self.options.retry_failed) and not self.sink.is_whole(
            item
        ):
            return True
        progress.finish(item, None)
        return False

    def _is_tried_again(self, item: WorkItem, deaths: Dict[str, int], progress: Any) -> bool:
        """Whether to do an item again of which no word came: its actor or node has ended, or its row was lost."""
        if not self._is_open(item, progress):
            return False
        deaths[item.key] = deaths.get(item.key, 0) + 1
        if deaths[item.key] <= self.options.retries:
            return True
        self._give_up(item)
        progress.finish(item, None)
        return False

    def _map(
        self, items: Sequence[WorkItem], busy: List[WorkItem], lost: List[WorkItem], progress: Any
    ) -> None:
        """Do some items; add those that other processes are at to ``busy``, those without an outcome to ``lost``."""
        waiting = dict(enumerate(items))
        for row in self._rows(items):
            if row["error"]:
                raise pickle.loads(row["error"])
            item = waiting.pop(int(row["place"]))
            if row["outcome"] == BUSY:
                busy.append(item)
                continue
            is_ours = row["outcome"] in (DONE, FAILED)
            self.num_done += is_ours
            progress.add(int(row["frames"]) if is_ours else 0)
            progress.finish(item, int(row["frames"]) if is_ours else None)
        lost += waiting.values()

    def _rows(self, items: Sequence[WorkItem]) -> Iterator[Dict[str, Any]]:
        """Yield a row for each item that was done, as they come; fewer after a stop request."""
        rows = [{"place": place, "item": pickle.dumps(item)} for place, item in enumerate(items)]
        room = self._room()
        most = min(room if self.options.workers is None else self._count, len(rows))
        done = self._ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            ItemActor,
            batch_size=1,
            fn_constructor_args=(self.options, self._threads, self.sink, self._folder),
            # One item at a time: those that wait for an actor would be lost with it, as if they had killed it.
            compute=self._ray.data.ActorPoolStrategy(
                min_size=min(room, most), max_size=most, max_tasks_in_flight_per_actor=1
            ),
            num_cpus=self._threads,
            num_gpus=self._num_gpus,
            max_restarts=-1,
            max_task_retries=0,
        )
        # In a thread, as a stop request must not wait for the next row.
        found: queue.Queue[Any] = queue.Queue()

        def draw() -> None:
            try:
                for row in done.iter_rows():
                    found.put(row)
                found.put(_END)
            except BaseException as error:
                found.put(error)

        threading.Thread(target=draw, name="ray rows", daemon=True).start()
        while not self._is_stopped():
            with contextlib.suppress(queue.Empty):
                row = found.get(timeout=_TURN)
                if row is _END:
                    return
                if isinstance(row, BaseException):
                    raise row
                yield row

    def _give_up(self, item: WorkItem) -> None:
        with self.sink.claim(item.key) as is_mine:
            if is_mine and self.sink.is_open(self.sink.record(item), self.options.retry_failed):
                times = counted(self.options.retries + 1, "time")
                self.sink.fail(item, RUN, f"the process that worked on it ended {times}")


def _prepare(context: Any) -> None:
    """Set what Ray Data does by itself; its versions do not have all of these."""
    context.enable_progress_bars = False
    # An item whose actor dies must not end the others: it is found by having no row, nor a record.
    context.max_errored_blocks = -1
    # An actor that no node has room for must not hold up the others, whatever the user's environment says: after the
    # loss of a node, a round may begin before Ray knows of it.
    context.wait_for_min_actors_s = -1
    # An item may take hours, and nodes that are lost are noticed by their heartbeats.
    context.execution_no_progress_timeout_s = -1
    # An actor has one item, so it is busy at 1.0: by Ray's own threshold, of more, the pool would not grow.
    scaling: Any = getattr(context, "autoscaling_config", None)
    if hasattr(scaling, "actor_pool_util_upscaling_threshold"):
        scaling.actor_pool_util_upscaling_threshold = 1.0


def _open(options: BatchOptions, num_threads: int, folder: str) -> Any:
    """Return the facts of the model, or the error that says why it cannot be opened."""
    os.chdir(folder)
    try:
        return ItemWorker(options, num_threads).facts
    except Exception as error:
        return as_sent(error)
