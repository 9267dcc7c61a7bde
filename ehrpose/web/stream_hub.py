"""The server's side of its streams: one process reads them, any number of clients get their newest results."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import threading
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any

from ehrpose.media.live import LiveOptions, SourceSpec, mask
from ehrpose.media.live.source import Backoff
from ehrpose.web.stream_process import run
from ehrpose.web.worker import without_ctrl_c

logger = logging.getLogger("ehrpose.web")
# Largest message, bytes: a few hundred people.
_MAX_MESSAGE = 16_000_000
_STATES_AT_THE_END = ("ended", "failed")


class Mailbox:
    """The newest message of each kind, for one client: a slow one misses some, and nothing piles up."""

    def __init__(self) -> None:
        self._newest: dict[str, dict[str, Any]] = {}
        self._there = asyncio.Event()

    def put(self, kind: str, data: dict[str, Any]) -> None:
        """Replace the message of a kind."""
        self._newest[kind] = data
        self._there.set()

    async def take(self, seconds: float) -> list[tuple[str, dict[str, Any]]]:
        """Return the new messages, waiting for one; none after that many seconds."""
        try:
            await asyncio.wait_for(self._there.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return []
        self._there.clear()
        taken, self._newest = self._newest, {}
        return list(taken.items())


class StreamHub:
    """Streams that are read while the server runs. All methods are for the server's event loop.

    Args:
        specs: The sources.
        opener: Opens the network, in the process; must be picklable.
        options: Time limits of the sources; None takes the defaults.
        process: What runs in the process.

    Raises:
        ValueError: There is no source.
    """

    def __init__(
        self,
        specs: Sequence[SourceSpec],
        opener: Callable[[], Any],
        options: LiveOptions | None = None,
        process: Callable[..., None] = run,
    ):
        if not specs:
            raise ValueError("expected a source")
        self._specs, self._opener, self._options, self._run = (
            list(specs),
            opener,
            options or LiveOptions(),
            process,
        )
        self._states: dict[str, dict[str, Any]] = {
            spec.name: {"state": "connecting", "reason": "", "address": mask(spec.address)} for spec in specs
        }
        self._stats: dict[str, dict[str, Any]] = {spec.name: {} for spec in specs}
        self._clients: dict[str, set[Mailbox]] = {spec.name: set() for spec in specs}
        self._stopped = threading.Event()
        self._process: Any = None
        self._thread: threading.Thread | None = None

    def sources(self) -> list[dict[str, Any]]:
        """Return ``name``, ``state``, ``reason``, ``address`` (masked) and ``stats`` of each source."""
        return [{"name": name, **state, "stats": self._stats[name]} for name, state in self._states.items()]

    def subscribe(self, name: str) -> Mailbox:
        """Return a mailbox for a source's messages; the first is its state.

        Raises:
            KeyError: There is no such source.
        """
        box = Mailbox()
        self._clients[name].add(box)
        box.put("state", self._states[name])
        return box

    def unsubscribe(self, name: str, box: Mailbox) -> None:
        """Take a mailbox away."""
        self._clients[name].discard(box)

    def is_over(self, name: str) -> bool:
        """Whether no more messages of a source come."""
        return self._states[name]["state"] in _STATES_AT_THE_END

    def start(self) -> None:
        """Begin to read the sources."""
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(
            target=self._keep_reading, args=(loop,), name="stream-hub", daemon=True
        )
        self._thread.start()

    async def close(self) -> None:
        """End the process."""
        self._stopped.set()
        if self._process is not None:
            self._process.kill()
        if self._thread is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._thread.join, 10)

    def _keep_reading(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run the process, and again when it ends while sources are not over; runs in a thread."""
        backoff = Backoff(0.5, 30.0)
        while not self._stopped.is_set():
            got = self._read(loop)
            if self._stopped.is_set() or all(self.is_over(spec.name) for spec in self._specs):
                return
            if got:
                backoff.reset()
            delay = backoff.next()
            logger.error("the process of the streams ended; it is started again in %.1f s", delay)
            self._later(loop, self._lost)
            self._stopped.wait(delay)

    def _read(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Run the process once; return whether people came."""
        context = multiprocessing.get_context("spawn")
        pipe, theirs = context.Pipe(duplex=False)
        left = [tuple(spec) for spec in self._specs if not self.is_over(spec.name)]
        process = context.Process(
            target=self._run, args=(theirs, self._opener, left, self._options), daemon=True
        )
        with without_ctrl_c():
            process.start()
        self._process = process
        theirs.close()  # so that the end of the process ends our reading
        got = False
        try:
            while not self._stopped.is_set():
                message = self._message(pipe)
                if message is None:
                    break
                got = got or message["kind"] == "people"
                self._later(loop, self._take, message)
        finally:
            process.kill()
            process.join(5)
            pipe.close()
        # What was sent last is known before it is decided whether to go on.
        self._wait_for(loop)
        return got

    @staticmethod
    def _message(pipe: Connection) -> dict[str, Any] | None:
        try:
            message = json.loads(pipe.recv_bytes(_MAX_MESSAGE))
        except (EOFError, OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    @staticmethod
    def _later(loop: asyncio.AbstractEventLoop, call: Callable[..., None], *args: Any) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(call, *args)

    def _wait_for(self, loop: asyncio.AbstractEventLoop) -> None:
        done = threading.Event()
        self._later(loop, done.set)
        while not (done.wait(0.1) or self._stopped.is_set() or loop.is_closed()):
            continue

    def _take(self, message: dict[str, Any]) -> None:
        kind, name, data = message.get("kind"), message.get("source"), message.get("data")
        if name not in self._clients or not isinstance(data, dict):
            return
        if kind == "stats":
            self._stats[name] = data
            return
        if kind == "state":
            self._states[name] = data
            logger.info("stream %s: %s %s", name, data.get("state"), data.get("reason"))
        for box in self._clients[name]:
            box.put(str(kind), data)

    def _lost(self) -> None:
        for name, state in self._states.items():
            if not self.is_over(name):
                self._states[name] = {
                    **state,
                    "state": "reconnecting",
                    "reason": "its process is started again",
                }
                for box in self._clients[name]:
                    box.put("state", self._states[name])
