"""Counts of the server in Prometheus' text format, version 0.0.4.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from ehrpose.web.feeds import Feeds
    from ehrpose.web.model_pool import ModelPool

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Upper limits of the histogram, seconds.
LIMITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# What is counted by itself; all else is "other", so that no client can make up more.
_PATHS = ("/", "/metrics", "/api/health", "/api/models", "/api/predict", "/api/heatmap", "/api/streams")
_TIMED = ("/api/predict", "/api/heatmap")
# Statuses of requests without an answer: the client has gone.
_NO_ANSWER = "none"


class Metrics:
    """Counts of requests and people since the start.

    Attributes:
        people: People found in photos.
    """

    def __init__(self) -> None:
        self.people = 0
        self._start = time.time()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._times: dict[str, list[int]] = {path: [0] * (len(LIMITS) + 1) for path in _TIMED}

    def add(self, path: str, status: str, seconds: float) -> None:
        """Count a request.

        Args:
            path: Its path.
            status: HTTP status of the answer.
            seconds: From the request's headers to the end of the answer; kept for photos that were processed.
        """
        path = path if path in _PATHS else "other"
        self._requests[path, status] += 1
        if path in self._times and status == "200":
            self._sums[path] += seconds
            self._times[path][bisect_left(LIMITS, seconds)] += 1

    def answer(self, pool: ModelPool, feeds: Feeds | None) -> Response:
        """Return all counts, with the state of the models and streams."""
        lines = [*self._own(), *_of_models(pool), *(_of_streams(feeds) if feeds is not None else [])]
        return Response("\n".join([*lines, ""]), media_type=CONTENT_TYPE)

    def _own(self) -> Iterable[str]:
        yield from _family("ehrpose_start_time_seconds", "gauge", "Start of the server, seconds since 1970")
        yield _line("ehrpose_start_time_seconds", {}, self._start)
        yield from _family("ehrpose_requests_total", "counter", "Requests by path and status of the answer")
        for (path, status), count in sorted(self._requests.items()):
            yield _line("ehrpose_requests_total", {"path": path, "status": status}, count)
        yield from _family(
            "ehrpose_errors_total", "counter", "Requests answered with status 500 or higher, or not"
        )
        yield _line(
            "ehrpose_errors_total", {}, sum(n for (_, status), n in self._requests.items() if _failed(status))
        )
        yield from _family("ehrpose_people_total", "counter", "People found in photos")
        yield _line("ehrpose_people_total", {}, self.people)
        name = "ehrpose_request_seconds"
        yield from _family(
            name, "histogram", "From the headers of a photo's request to the end of its answer"
        )
        for path, counts in self._times.items():
            total = 0
            for limit, count in zip((*map(str, LIMITS), "+Inf"), counts):
                total += count
                yield _line(f"{name}_bucket", {"path": path, "le": limit}, total)
            yield _line(f"{name}_sum", {"path": path}, self._sums[path])
            yield _line(f"{name}_count", {"path": path}, total)


class Measured:
    """ASGI middleware that counts every request, also those that others refuse.

    Args:
        app: The application.
        metrics: Where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), _NO_ANSWER

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, sending)
        finally:
            self.metrics.add(scope["path"], status, time.perf_counter() - start)


def _of_models(pool: ModelPool) -> Iterable[str]:
    failing = pool.failing
    tables: list[tuple[str, str, Mapping[str, float]]] = [
        (
            "ehrpose_queue_length",
            "Photos uploaded, waiting or in progress",
            {n: pool.queue_length(n) for n in pool.names},
        ),
        ("ehrpose_model_open", "Whether the model is in memory", {n: pool.is_open(n) for n in pool.names}),
        (
            "ehrpose_model_failing",
            "Whether the model rests after failures",
            {n: n in failing for n in pool.names},
        ),
    ]
    for name, what, values in tables:
        yield from _family(name, "gauge", what)
        for model, value in values.items():
            yield _line(name, {"model": model}, value)


_STREAM_COUNTS = {
    "frames": "Pictures in which people were looked for",
    "people": "People found in them",
    "dropped": "Pictures replaced by newer ones",
    "broken": "Packets and pictures that could not be decoded",
    "reconnects": "Attempts to open the source again",
}


def _of_streams(feeds: Feeds) -> Iterable[str]:
    sources = feeds.hub.sources()
    for key, what in _STREAM_COUNTS.items():
        yield from _family(f"ehrpose_stream_{key}_total", "counter", what)
        for source in sources:
            labels = {"source": source["name"]}
            yield _line(f"ehrpose_stream_{key}_total", labels, source["stats"].get(key, 0))
    yield from _family("ehrpose_stream_live", "gauge", "Whether pictures come")
    for source in sources:
        yield _line("ehrpose_stream_live", {"source": source["name"]}, source["state"] == "live")
    name = "ehrpose_stream_latency_seconds"
    yield from _family(name, "gauge", "From a picture's arrival to its people, of the last 10,000 pictures")
    for source in sources:
        for quantile, key in (("0.5", "median"), ("0.95", "p95")):
            value = (source["stats"].get("latency_ms") or {}).get(key)
            if value is not None:
                yield _line(name, {"source": source["name"], "quantile": quantile}, value / 1000)
    yield from _family("ehrpose_stream_watchers", "gauge", "Connections that follow a source")
    yield _line("ehrpose_stream_watchers", {}, feeds.watchers)


def _failed(status: str) -> bool:
    return status == _NO_ANSWER or status >= "500"


def _family(name: str, kind: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Mapping[str, Any], value: float) -> str:
    words = ",".join(f'{key}="{_escaped(str(text))}"' for key, text in labels.items())
    number = str(int(value)) if value == int(value) else repr(round(float(value), 6))
    return f"{name}{{{words}}} {number}" if words else f"{name} {number}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
