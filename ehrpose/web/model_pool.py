"""The models that the page offers: each opened on first use, in its own process, and running one photo at a time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio
import numpy as np
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from ehrpose.inferencers.model_spec import ModelSpec
from ehrpose.inferencers.predictors import Predictor
from ehrpose.model_zoo import list_models
from ehrpose.web.fairness import FairLock, Places
from ehrpose.web.limits import Budget, BusyError, Limits
from ehrpose.web.worker import ModelFailedError, Worker, WorkerLostError

logger = logging.getLogger("ehrpose.web")
# Photos that wait for a model by default.
MAX_WAITING = Limits.queue
# A model that fails this often in a row rests for some seconds, so that it does not keep everyone waiting.
MAX_FAILURES, REST_S = 3, 60.0
# Processes of a model that not even a kill ends, such as those in a driver's call; after these it is not opened again.
MAX_STUCK = 2


@dataclass
class _Entry:
    name: str
    open: Callable[[], Predictor]
    places: Places
    worker: Worker | None = None
    is_loading: bool = False
    opening: Worker | None = None  # its process, while it loads the model
    # Photos that arrive while the one in progress is computed are served in their order, the clients in turn.
    lock: FairLock = field(default_factory=FairLock)
    # Whether people were found since the server started: decoding them is compiled at the first ones.
    is_warm: bool = False
    failures: int = 0
    stuck: int = 0
    rests_until: float = 0.0

    @property
    def waiting(self) -> int:
        """Photos that have a place, with the one in progress."""
        return len(self.places)


class ModelPool:
    """Models by name.

    Args:
        openers: Name to the picklable function that opens the model.
        limits: Sizes and times.

    Raises:
        ValueError: There is no model.
    """

    def __init__(self, openers: dict[str, Callable[[], Predictor]], limits: Limits | None = None):
        if not openers:
            raise ValueError("no model to serve: none was given, and no zoo model has weights")
        self.limits = limits or Limits()
        most = self.limits.queue + 1
        self._entries = {name: _Entry(name, opener, Places(most, name)) for name, opener in openers.items()}
        self._pixels = Budget(self.limits.max_pixels, "pixels")
        self._is_closed = False

    @property
    def names(self) -> list[str]:
        """Names, the default first."""
        return list(self._entries)

    @property
    def failing(self) -> list[str]:
        """Names of the models that rest after failures."""
        return [entry.name for entry in self._entries.values() if entry.rests_until > time.monotonic()]

    @property
    def loading(self) -> list[str]:
        """Names of the models that are being opened; their photos wait."""
        return [entry.name for entry in self._entries.values() if entry.is_loading]

    def is_open(self, name: str) -> bool:
        """Whether the model is in memory."""
        return self._entries[name].worker is not None

    def state(self, name: str) -> str:
        """Return ``"open"``, ``"loading"``, ``"failing"``, or ``"closed"`` for a model that its first photo opens."""
        if self._entries[name].is_loading:
            return "loading"
        if name in self.failing:
            return "failing"
        return "open" if self.is_open(name) else "closed"

    def opener(self, name: str) -> Callable[[], Predictor]:
        """Return the picklable function that opens the model."""
        return self._entries[name].open

    def pid(self, name: str) -> int | None:
        """Number of the model's process; None if it is not open."""
        worker = self._entries[name].worker
        return None if worker is None else worker.pid

    def queue_length(self, name: str) -> int:
        """Return the number of photos that wait for the model, are uploaded for it, or are in progress."""
        return self._entries[name].waiting

    @contextmanager
    def place(self, name: str, client: str = "") -> Iterator[None]:
        """Hold a place in the model's queue; taken before a photo's bytes are read.

        Args:
            name: The model.
            client: Who sends the photo.

        Raises:
            KeyError: The model does not exist.
            BusyError: Too many photos have one, or the model rests after failures.
        """
        entry = self._entries[name]
        rest = entry.rests_until - time.monotonic()
        if rest > 0:
            raise BusyError(
                f"{name} failed several times and rests: try again later", int(min(rest, 3600)) + 1
            )
        with entry.places.take(client):
            yield

    async def run(
        self,
        name: str,
        task: str,
        data: bytes,
        is_gone: Callable[[], Awaitable[bool]] | None = None,
        client: str = "",
    ) -> tuple[dict[str, Any], bytes]:
        """Return a model's answer for a photo, and the bytes of a picture; to be called with a place.

        Args:
            name: The model.
            task: ``"predict"`` or ``"heatmap"``.
            data: The encoded photo.
            is_gone: Tells whether no one waits for the answer any more.
            client: Who sends the photo; clients take turns.

        Raises:
            BusyError: It took too long until its turn, or the model hung or crashed; its process was replaced.
            UploadError: The photo is refused.
            ModelFailedError: The model raised an error, which is a bug.
            ClientDisconnect: No one waits for the answer.
        """
        entry = self._entries[name]
        async with self._turn(entry, client):
            if is_gone is not None and await is_gone():
                raise ClientDisconnect
            try:
                answer = await self._photo(entry, task, data)
            except WorkerLostError as error:
                await self._lost(entry)
                logger.error("model %s: %s; its process is replaced", entry.name, error)
                raise BusyError(f"the model {name} was stopped at this photo: {error}", 5) from error
            entry.failures = 0
            return answer

    async def load(self, name: str) -> None:
        """Open a model before its first photo; what goes wrong is logged, and the first photo tries again."""
        entry = self._entries[name]
        async with entry.lock:
            if entry.worker is not None or self._is_closed:
                return
            try:
                entry.worker = await self._open(entry)
            except (WorkerLostError, ModelFailedError, OSError) as error:  # OSError: no process starts
                if self._is_closed:
                    return
                if not isinstance(error, ModelFailedError):
                    await self._lost(entry)
                logger.error("model %s could not be loaded: %s", entry.name, error)

    @asynccontextmanager
    async def _turn(self, entry: _Entry, client: str) -> AsyncIterator[None]:
        try:
            with anyio.fail_after(self.limits.wait_s):
                await entry.lock.acquire(client)
        except TimeoutError:
            reason = f"{entry.name} is still loading" if entry.is_loading else f"no turn for {entry.name}"
            raise BusyError(f"{reason} after {self.limits.wait_s:g} s: try again", 5) from None
        try:
            yield
        finally:
            entry.lock.release()

    async def _photo(self, entry: _Entry, task: str, data: bytes) -> tuple[dict[str, Any], bytes]:
        worker = entry.worker
        if worker is None or not worker.is_alive:
            entry.worker = worker = await self._open(entry)
        width, height = await run_in_threadpool(worker.begin, task, data)
        try:
            with anyio.fail_after(self.limits.wait_s):
                await self._pixels.acquire(width * height)
        except TimeoutError:
            await run_in_threadpool(worker.finish, False)
            raise BusyError("other photos take all memory: try again in a moment", 5) from None
        try:
            limits = self.limits
            seconds = limits.photo_s if entry.is_warm else max(limits.open_s, limits.photo_s)
            answer = await run_in_threadpool(worker.finish, True, seconds)
            entry.is_warm = entry.is_warm or bool(answer[0].get("people"))
            return answer
        finally:
            self._pixels.release(width * height)

    async def _open(self, entry: _Entry) -> Worker:
        limits = self.limits

        def started(worker: Worker) -> None:
            entry.opening = worker
            if self._is_closed:
                worker.kill()

        await self._end(entry)
        entry.is_loading = True
        try:
            return await run_in_threadpool(
                Worker, entry.open, limits.max_pixels, limits.open_s, limits.photo_s, started
            )
        except ModelFailedError:
            await self._lost(entry)
            raise
        finally:
            entry.is_loading, entry.opening = False, None

    async def _lost(self, entry: _Entry) -> None:
        entry.failures += 1
        await self._end(entry)
        if entry.stuck >= MAX_STUCK:
            entry.rests_until = math.inf
            logger.error(
                "model %s: %d of its processes cannot be killed: restart the server", entry.name, MAX_STUCK
            )
        elif entry.failures >= MAX_FAILURES:
            entry.failures, entry.rests_until = 0, time.monotonic() + REST_S
            logger.error(
                "model %s failed %d times in a row: it rests for %g s", entry.name, MAX_FAILURES, REST_S
            )

    async def _end(self, entry: _Entry) -> None:
        worker, entry.worker = entry.worker, None
        if worker is not None:
            await run_in_threadpool(worker.close)
            entry.stuck += worker.is_alive

    def close(self) -> None:
        """End all processes, also those that are still loading."""
        self._is_closed = True
        for entry in self._entries.values():
            if entry.worker is not None:
                entry.worker.close()
                entry.worker = None
            if entry.opening is not None:
                entry.opening.kill()


def open_ready(spec: ModelSpec, device: str | None, trust_pt2: bool = False) -> Predictor:
    """Return an open model that has seen a photo: what is compiled and loaded then may take longer than a photo may."""
    predictor: Predictor = spec.open(device, trust_pt2=trust_pt2)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)  # the shape of most photos
    predictor.predict([noise])
    return predictor


def pool_of(
    models: Sequence[str], device: str | None = None, limits: Limits | None = None, trust_pt2: bool = False
) -> ModelPool:
    """Return a pool of these models; without any, of the zoo models with weights.

    Args:
        models: Texts of ``ModelSpec.parse``.
        device: Device of torch models.
        limits: Sizes and times.
        trust_pt2: Open ``.pt2`` files, which may run any code in them.

    Raises:
        ValueError: There is no model, a text does not name a model, or two have the same name.
    """
    if models:
        specs = [ModelSpec.parse(text) for text in models]
    else:
        with_weights = [model for model in list_models() if model.checkpoint is not None]
        specs = [ModelSpec.parse(model.aliases[0] if model.aliases else model.name) for model in with_weights]
    openers: dict[str, Callable[[], Predictor]] = {}
    for spec in specs:
        if spec.name in openers:
            raise ValueError(f"two models are named {spec.name!r}: give names, such as mine={spec.path}")
        openers[spec.name] = partial(open_ready, spec, device, trust_pt2)
    return ModelPool(openers, limits)
