"""Time limits of a connection, which uvicorn does not have, their number, and how often the log tells of them.

uvicorn limits the size of a request's headers and how long a connection may idle between requests; not how long headers
may take, nor how long a client may take for its answer. Its ``limit_concurrency`` answers without Retry-After.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol

from ehrpose.web.guard import HEADERS
from ehrpose.web.limits import Limits

logger = logging.getLogger("ehrpose.web")


def limited_protocol(limits: Limits) -> type[H11Protocol]:
    """Return the protocol class for ``uvicorn.Config(http=...)``."""
    return type("LimitedProtocol", (_LimitedProtocol,), {"limits": limits})


class _LimitedProtocol(H11Protocol):
    limits: Limits

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        if len(self.connections) > 2 * self.limits.connections:
            self._cut("more than %d connections", 2 * self.limits.connections)
        elif len(self.connections) > self.limits.connections:
            self.app = _too_many
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop("_head_timer")
        self._stop("_write_timer")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering():
            self._stop("_head_timer")
        elif self._head_timer is None:
            self._expect_head()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._is_answering():
            self._expect_head()

    def pause_writing(self) -> None:
        super().pause_writing()
        seconds = self.limits.write_s
        self._write_timer = self.loop.call_later(seconds, self._cut, "answer not taken within %g s", seconds)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop("_write_timer")

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect_head(self) -> None:
        """Cut the connection if it is still here, without a request, after its time; also one that is closing."""
        self._stop("_head_timer")
        seconds = self.limits.head_s
        self._head_timer = self.loop.call_later(
            seconds, self._cut, "no complete request, or answer not taken, within %g s", seconds
        )

    def _stop(self, name: str) -> None:
        timer: asyncio.TimerHandle | None = getattr(self, name)
        if timer is not None:
            timer.cancel()
            setattr(self, name, None)

    def _cut(self, reason: str, value: float) -> None:
        logger.warning("connection from %s cut: " + reason, self.client[0] if self.client else "?", value)
        self.transport.abort()  # close would wait until the client takes what is left


async def _too_many(scope: Any, receive: Any, send: Any) -> None:
    headers = {**HEADERS, "Retry-After": "5", "Connection": "close"}
    response = JSONResponse({"error": "too many connections: try again in a moment"}, 503, headers)
    await response(scope, receive, send)


class RateLimit(logging.Filter):
    """Lets each kind of line into the log a few times a minute; the next one says how many were left out.

    Args:
        per_minute: Lines of a kind, which is the text before its values are filled in.
        clock: Time in seconds.
    """

    def __init__(self, per_minute: int = 10, clock: Callable[[], float] = time.monotonic):
        super().__init__()
        self.per_minute, self.clock = per_minute, clock
        self._kinds: dict[
            tuple[str, str], list[float]
        ] = {}  # start of the minute, lines in it, lines left out

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the record is logged."""
        kind = self._kinds.setdefault((record.name, str(record.msg)), [self.clock(), 0, 0])
        if self.clock() - kind[0] >= 60:
            kind[:2] = [self.clock(), 0]
        if kind[1] >= self.per_minute:
            kind[2] += 1
            return False
        kind[1] += 1
        if kind[2]:
            record.msg, kind[2] = f"{record.msg} (and {int(kind[2])} more like it before)", 0
        return True
