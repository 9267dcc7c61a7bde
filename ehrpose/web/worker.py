"""A model in a process of its own, which can be killed: a thread that hangs in a decoder or a model cannot be.

The two processes exchange bytes and JSON, never pickles: a decoder that was taken over must not reach the server.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from ehrpose.web.uploads import UploadError, decode_photo, photo_size, silence

# Largest answer, in bytes; heatmaps have a few hundred kilobytes.
_MAX_ANSWER = 64_000_000
# JSON, and the bytes of a picture.
_Answer = tuple[dict[str, Any], bytes]


class WorkerLostError(RuntimeError):
    """The process was killed because it took too long, or it ended."""


class ModelFailedError(RuntimeError):
    """The model raised an error; the message is its traceback."""


class Worker:
    """A process with one open model, which handles one photo at a time. All methods block.

    Args:
        opener: Function that opens the Predictor; must be picklable.
        max_pixels: Maximum number of pixels of a photo.
        open_s: Maximum time for opening, in seconds.
        photo_s: Maximum time for each later step.
        on_start: Called with the worker when its process runs; it may be closed from then on, also while it opens.

    Raises:
        WorkerLostError: It took too long, or the process ended.
        ModelFailedError: The model cannot be opened.
    """

    def __init__(
        self,
        opener: Callable[[], Any],
        max_pixels: int,
        open_s: float,
        photo_s: float,
        on_start: Callable[[Worker], None] = lambda worker: None,
    ):
        self._photo_s = photo_s
        # Fork would copy the server's sockets and locks.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, opener, max_pixels), daemon=True)
        with without_ctrl_c():
            self._process.start()
        theirs.close()  # so that the end of the process ends our reading
        on_start(self)
        try:
            with self._within(open_s):
                self._answer(open_s)
        except RuntimeError:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.is_alive()

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    def begin(self, task: str, data: bytes) -> tuple[int, int]:
        """Give the process a photo and return the width and height that its header states.

        Args:
            task: ``"predict"`` or ``"heatmap"``.
            data: The encoded photo.

        Raises:
            UploadError: The photo is refused; the task has ended.
            WorkerLostError, ModelFailedError: As for the class.
        """
        with self._within(self._photo_s):
            self._pipe.send_bytes(task.encode())
            self._pipe.send_bytes(data)
            width, height = self._answer(self._photo_s)[0]["size"]
        return width, height

    def finish(self, wanted: bool = True, seconds: float | None = None) -> _Answer:
        """Let the process decode the photo and compute; return its answer and the bytes of a picture.

        Args:
            wanted: False drops the photo instead.
            seconds: Maximum time; None takes ``photo_s``.

        Raises:
            UploadError, WorkerLostError, ModelFailedError: As for ``begin``.
        """
        seconds = self._photo_s if seconds is None else seconds
        with self._within(seconds):
            self._pipe.send_bytes(b"go" if wanted else b"")
            return self._answer(seconds)

    def kill(self) -> None:
        """Kill the process; what waits for its answer raises WorkerLostError."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process. What it holds is freed; it never writes files."""
        self.kill()
        self._process.join(5)
        self._pipe.close()

    def _answer(self, seconds: float) -> _Answer:
        # Without poll, a process that not even a kill ends, as in a driver's call, would hold this thread.
        if not self._pipe.poll(seconds):
            raise TimeoutError
        answer = json.loads(self._pipe.recv_bytes(_MAX_ANSWER))
        picture = self._pipe.recv_bytes(_MAX_ANSWER)
        if not isinstance(answer, dict):
            raise ValueError
        if "status" in answer:
            raise UploadError(answer["status"], answer["error"])
        if "failed" in answer:
            raise ModelFailedError(answer["failed"])
        return answer, picture

    @contextmanager
    def _within(self, seconds: float) -> Iterator[None]:
        start = time.monotonic()
        timer = threading.Timer(seconds, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, EOFError, ValueError, KeyError) as error:  # OSError: broken pipes and TimeoutError
            if isinstance(error, UploadError):
                raise
            self._process.kill()
            self._process.join(5)
            if time.monotonic() - start >= seconds:
                raise WorkerLostError(f"no answer within {seconds:g} s") from None
            raise WorkerLostError(f"its process ended with exit code {self._process.exitcode}") from None
        finally:
            timer.cancel()


@contextmanager
def without_ctrl_c() -> Iterator[None]:
    """Block SIGINT, which a process that is started inherits: Ctrl-C is for the server, which then kills it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # where the first process starts it, it would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection, opener: Callable[[], Any], max_pixels: int) -> None:
    """Serve one model until the other side closes the pipe; runs in the process."""
    predictor: Any = None

    def opened() -> _Answer:
        nonlocal predictor
        predictor = opener()
        return {}, b""

    try:
        _send(pipe, *_attempt(opened))
        while predictor is not None:
            task, data = pipe.recv_bytes().decode(), pipe.recv_bytes()
            reply, _ = _attempt(partial(_size, data, max_pixels))
            _send(pipe, reply, b"")
            if "size" in reply:
                wanted = pipe.recv_bytes()
                run = partial(_TASKS[task], predictor, data, max_pixels) if wanted else _nothing
                _send(pipe, *_attempt(run))
    except (EOFError, OSError):  # the server has ended
        return


def _send(pipe: Connection, reply: dict[str, Any], picture: bytes) -> None:
    pipe.send_bytes(json.dumps(reply).encode())
    pipe.send_bytes(picture)


def _attempt(run: Callable[[], _Answer]) -> _Answer:
    try:
        reply, picture = run()
        json.dumps(reply, allow_nan=False)
        return reply, picture
    except UploadError as error:
        return {"status": error.status, "error": str(error)}, b""
    except Exception:
        return {"failed": traceback.format_exc()}, b""


def _nothing() -> _Answer:
    return {}, b""


def _size(data: bytes, max_pixels: int) -> _Answer:
    with silence():
        return {"size": photo_size(data, max_pixels)}, b""


def _predict(predictor: Any, data: bytes, max_pixels: int) -> _Answer:
    from ehrpose.people_json import people_to_dicts

    start = time.perf_counter()
    with silence():
        photo = decode_photo(data, max_pixels)
    decoded = time.perf_counter()
    (people,) = predictor.predict([photo])
    found = time.perf_counter()
    reply = {
        "width": photo.shape[1],
        "height": photo.shape[0],
        "people": people_to_dicts(people),
        "skeleton": _skeleton(predictor.meta),
        "times_ms": {"read": round(1000 * (decoded - start), 1), "find": round(1000 * (found - decoded), 1)},
    }
    return reply, b""


def _skeleton(meta: Any) -> dict[str, Any]:
    return {
        "names": list(meta.names),
        "limbs": [list(map(int, limb)) for limb in meta.skeleton],
        "keypoint_colors": np.asarray(meta.keypoint_colors).tolist(),
        "limb_colors": np.asarray(meta.limb_colors).tolist(),
    }


def _heatmap(predictor: Any, data: bytes, max_pixels: int) -> _Answer:
    import cv2

    from ehrpose.inferencers.predictors import photo_heat

    with silence():
        photo = decode_photo(data, max_pixels)
    try:
        heat = photo_heat(predictor, photo).max(axis=0)
    except ValueError as error:  # candidates instead of maps
        raise UploadError(400, str(error)) from error
    values = (np.clip(heat, 0, 1) * 255).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_JET), cv2.COLOR_BGR2BGRA)
    colors[..., 3] = np.clip(values.astype(np.int32) * 2, 0, 215)
    return {}, cv2.imencode(".png", colors)[1].tobytes()


_TASKS = {"predict": _predict, "heatmap": _heatmap}
