"""The parent's side of the workers: hands out items, sees processes end, and starts others in their place."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, Callable, Deque, Dict, Iterator, List, Optional, Sequence

from ehrpose.batch.items import WorkItem
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.progress import NO_PROGRESS
from ehrpose.batch.sink import RUN, Sink
from ehrpose.batch.worker import BUSY, DONE, END, ERROR, FAILED, FRAMES, READY, UNCUT, ModelFacts, work
from ehrpose.counted import counted

# Libraries that start as many threads as there are cores, unless these say otherwise when they are loaded.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
# Seconds between looks at a stop request, and at items that another run works on.
_TURN, _WAIT = 0.2, 1.0


class BatchError(RuntimeError):
    """Workers cannot be kept running; what is done stays."""


@dataclass
class _Worker:
    process: Any
    connection: Any
    is_ready: bool = False
    item: Optional[WorkItem] = None
    frames: int = 0


@dataclass
class _Work:
    """Items that are not done yet.

    Attributes:
        pending: Those to hand out.
        elsewhere: Those that another process worked on, and when that was last seen.
        deaths: How many processes ended with each item, by key.
    """

    pending: Deque[WorkItem]
    elsewhere: Dict[str, Any] = field(default_factory=dict)
    deaths: Dict[str, int] = field(default_factory=dict)


class Workers:
    """Worker processes with an open model; close it at the end, or use it in a ``with`` block.

    Args:
        options: Model and options.
        count: Number of processes.
        num_threads: CPU threads of each.
        sink: Where the parts belong.
        is_stopped: Asked often; once it is true, ``run`` returns.

    Attributes:
        num_done: Items that these processes have done, with those that failed.

    Raises:
        FileNotFoundError, ValueError: The model cannot be opened.
        BatchError: The processes end before they have opened it.
    """

    def __init__(
        self,
        options: BatchOptions,
        count: int,
        num_threads: int,
        sink: Sink,
        is_stopped: Callable[[], bool] = lambda: False,
    ):
        self.options, self.sink = options, sink
        self._threads, self._is_stopped = num_threads, is_stopped
        self.num_done, self._early_deaths = 0, 0
        self._facts: Optional[ModelFacts] = None
        self._workers: List[_Worker] = []
        self._may_begin = False
        for _ in range(count):
            self._start()

    def model(self) -> Optional[ModelFacts]:
        """Return the facts of the model, once one worker has opened it; None after a stop request.

        Raises: As for the class.
        """
        while self._facts is None and not self._is_stopped():
            self._listen(None, NO_PROGRESS)
        return self._facts

    def begin(self) -> None:
        """Let the workers begin: the folder is this run's, and ``sink`` knows its digest."""
        self._may_begin = True
        for worker in self._workers:
            if worker.is_ready:
                self._send(worker, (self.sink.run, self.sink.started))

    def run(self, items: Sequence[WorkItem], progress: Any = None) -> None:
        """Do items; return once each has a record, by these processes or others, or its video cannot be cut.

        Args:
            items: What to do.
            progress: Shows what is done.

        Raises: As for the class, and what the sink raises.
        """
        left, progress = _Work(deque(items)), progress or NO_PROGRESS
        while not self._is_stopped():
            self._look_elsewhere(left, progress)
            self._hand_out(left)
            is_busy = any(worker.item is not None for worker in self._workers)
            if not (left.pending or left.elsewhere or is_busy):
                return
            if left.elsewhere and not (is_busy or left.pending):
                progress.wait(len(left.elsewhere))
            self._listen(left, progress)

    def close(self) -> None:
        """End all processes at once; an item that one is at is dropped."""
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(5)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            worker.connection.close()
        self._workers = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=work, args=(theirs, self.options, self._threads, self.sink), daemon=True, name="batch"
        )
        with _threads_limited(self._threads), _interrupts_blocked():
            process.start()
        theirs.close()  # so that the end of the process closes the pipe
        self._workers.append(_Worker(process, ours))

    def _hand_out(self, left: _Work) -> None:
        for worker in self._workers:
            if left.pending and worker.is_ready and worker.item is None:
                worker.item, worker.frames = left.pending.popleft(), 0
                self._send(worker, worker.item)

    @staticmethod
    def _send(worker: _Worker, message: Any) -> None:
        with contextlib.suppress(OSError):  # it has ended, which its sentinel tells
            worker.connection.send(message)

    def _look_elsewhere(self, left: _Work, progress: Any) -> None:
        """Drop items that another run has done meanwhile, and try again those that it left."""
        now = time.monotonic()
        for key, (item, since) in list(left.elsewhere.items()):
            if now - since < _WAIT:
                continue
            record = self.sink.record(item)
            del left.elsewhere[key]
            if self.sink.is_open(record, self.options.retry_failed) and not self.sink.is_whole(item):
                left.pending.append(item)
            else:
                progress.finish(item, None)

    def _listen(self, left: Optional[_Work], progress: Any) -> None:
        """Take the messages that have come, and notice processes that have ended."""
        known = {id(worker.connection): worker for worker in self._workers}
        ready = wait([worker.connection for worker in self._workers], _TURN)
        for connection in ready:
            worker = known[id(connection)]
            try:
                self._take(worker, worker.connection.recv(), left, progress)
            except (EOFError, ConnectionResetError):
                self._bury(worker, left, progress)

    def _take(self, worker: _Worker, message: Any, left: Optional[_Work], progress: Any) -> None:
        kind, content = message
        if kind == ERROR:
            raise content
        if kind == READY:
            self._facts, worker.is_ready, self._early_deaths = content, True, 0
            if self._may_begin:
                self._send(worker, (self.sink.run, self.sink.started))
        elif kind == FRAMES:
            worker.frames += content
            progress.add(content)
        elif kind == END:
            item, worker.item = worker.item, None
            assert item is not None
            assert left is not None
            if content == BUSY:
                left.elsewhere[item.key] = (item, time.monotonic())
                return
            is_ours = content in (DONE, FAILED)
            self.num_done += is_ours
            progress.finish(item, worker.frames if is_ours else None)
            if content == UNCUT:
                for other in [other for other in left.pending if other.video_key == item.video_key]:
                    left.pending.remove(other)
                    progress.finish(other, None)

    def _bury(self, worker: _Worker, left: Optional[_Work], progress: Any) -> None:
        """Start a process in the place of one that ended, and hand out its item again, or give it up."""
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)
        how = _ending(worker.process.exitcode)
        if not worker.is_ready:
            self._early_deaths += 1
            if self._early_deaths > self.options.retries:
                raise BatchError(
                    f"the workers end before they have opened the model, {how}: is there memory for "
                    f"{counted(len(self._workers) + 1, 'worker')}?"
                )
        item = worker.item
        if item is not None and left is not None:
            progress.add(-worker.frames)
            deaths = left.deaths[item.key] = left.deaths.get(item.key, 0) + 1
            if deaths <= self.options.retries:
                left.pending.appendleft(item)
            else:
                self._give_up(item, deaths, how)
                progress.finish(item, 0)
        if not self._is_stopped():  # SLURM, for one, sends SIGTERM to all processes
            self._start()

    def _give_up(self, item: WorkItem, deaths: int, how: str) -> None:
        with self.sink.claim(item.key) as is_mine:
            if is_mine and self.sink.is_open(self.sink.record(item)):
                times = "" if deaths == 1 else f" {deaths} times"
                self.sink.fail(item, RUN, f"the process that worked on it ended{times}, {how}")


def _ending(code: Optional[int]) -> str:
    return f"by signal {-code}" if code is not None and code < 0 else f"with code {code}"


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Keep a terminal's Ctrl-C from a process that is started within the block; here it arrives after the block."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # It would start with the first process, and unblock the signal.
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _threads_limited(count: int) -> Iterator[None]:
    """Set the variables that limit threads for a process that is started within the block, but those that are set."""
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, str(count)))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]
