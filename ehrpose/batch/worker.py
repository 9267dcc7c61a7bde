"""A worker process: opens the model once, then does one item after another until it is told to end."""

from __future__ import annotations

import os
import pickle
import signal
import time
from dataclasses import dataclass
from typing import Any, Dict, Optional

from ehrpose.batch.items import WorkItem
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.process import process_item
from ehrpose.batch.sink import INPUT, RUN, Sink
from ehrpose.batch.storage import StorageError, VideoCopies
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.media.pieces import PieceError
from ehrpose.media.video import VideoError

# What becomes of an item: written; written as failed; done before, by whomever; another process is at it; the video
# cannot be cut.
DONE, FAILED, SKIPPED, BUSY, UNCUT = "done", "failed", "skipped", "busy", "uncut"
# Messages to the parent.
READY, FRAMES, END, ERROR = "ready", "frames", "end", "error"
# Seconds between reports of progress.
_REPORT = 0.5


@dataclass(frozen=True)
class ModelFacts:
    """What a worker tells of the model that it opened.

    Attributes:
        identity: See ``identity_of``.
        meta: The skeleton.
    """

    identity: Dict[str, Any]
    meta: KeypointMeta


class ItemWorker:
    """Does items with an open model.

    Args:
        options: Model and options.
        num_threads: CPU threads of the network.

    Attributes:
        facts: Facts of the model.

    Raises:
        FileNotFoundError, ValueError: As for ``open_predictor``.
    """

    def __init__(self, options: BatchOptions, num_threads: int):
        from ehrpose.batch.model_identity import identity_of
        from ehrpose.inferencers.model_spec import ModelSpec

        self.options, self.copies = options, VideoCopies()
        self.predictor = ModelSpec.parse(options.model, options.weights).open(
            options.device, options.backend, cfg_options=options.cfg_options, mode=options.mode,
            flip_test=options.flip_test, num_threads=num_threads, trust_pt2=options.trust_pt2,
        )  # fmt: skip
        identity = identity_of(self.predictor, num_threads)
        self.facts = ModelFacts(identity, KeypointMeta.build(self.predictor.meta))

    def do(self, item: WorkItem, sink: Sink, report: Any = lambda count: None) -> str:
        """Do one item if nobody else does or did; return what became of it.

        Args:
            item: The item.
            sink: Where its part and record belong.
            report: Called with the number of photos or frames since the last call.

        Raises:
            PermissionError, WriteError, StorageError: The sink cannot be written to.
        """
        with sink.claim(item.key) as is_mine:
            if not is_mine:
                return BUSY
            if not sink.is_open(sink.record(item), self.options.retry_failed):
                return SKIPPED
            start = time.perf_counter()
            try:
                found = process_item(
                    item, self.predictor, self.options.batch_size, self.options.bbox_thr, report, self.copies
                )
            except PieceError as error:
                sink.mark_whole(item, str(error))
                return UNCUT
            except (VideoError, FileNotFoundError) as error:
                sink.fail(item, INPUT, str(error), time.perf_counter() - start)
                return FAILED
            except BrokenPipeError:  # the parent has ended
                raise
            except StorageError as error:
                sink.fail(item, RUN, str(error), time.perf_counter() - start)
                return FAILED
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                sink.fail(item, RUN, " ".join(reason.split()), time.perf_counter() - start)
                return FAILED
            record = sink.new_record(item)
            record.frames = len(found.part.frames) - len(found.errors)
            record.people = sum(len(frame.people) for frame in found.part.frames)
            record.errors, record.note = found.errors, found.note
            record.seconds = time.perf_counter() - start
            sink.store(item, found.part, record)
            return DONE


def work(connection: Any, options: BatchOptions, num_threads: int, sink: Sink) -> None:
    """Run a worker process.

    Args:
        connection: To the parent: items and the digest of the run come in, messages go out. None ends the worker, as
            does the parent's end.
        options: Model and options.
        num_threads: CPU threads of the network, and of OpenCV.
        sink: Where the parts belong.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's Ctrl-C the parent tells
    import cv2

    cv2.setNumThreads(num_threads)
    try:
        try:
            worker = ItemWorker(options, num_threads)
            connection.send((READY, worker.facts))
            sink.run, sink.started = connection.recv()
            _do_all(connection, worker, sink)
        except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent has ended
            os._exit(1)
        except Exception as error:
            connection.send((ERROR, as_sent(error)))
    finally:
        connection.close()


def _do_all(connection: Any, worker: ItemWorker, sink: Sink) -> None:
    while True:
        item: Optional[WorkItem] = connection.recv()
        if item is None:
            return
        report = _Report(connection)
        outcome = worker.do(item, sink, report)
        report.flush()
        connection.send((END, outcome))


class _Report:
    def __init__(self, connection: Any):
        self._connection, self._count, self._last = connection, 0, time.monotonic()

    def __call__(self, count: int) -> None:
        self._count += count
        if time.monotonic() - self._last > _REPORT:
            self.flush()

    def flush(self) -> None:
        """Send what was counted; also tells whether the parent lives."""
        self._connection.send((FRAMES, self._count))
        self._count, self._last = 0, time.monotonic()


def as_sent(error: Exception) -> Exception:
    """Return an error that another process can receive: itself, else its text."""
    try:
        pickle.loads(pickle.dumps(error))
        return error
    except Exception:
        return ValueError(f"{type(error).__name__}: {error}")
