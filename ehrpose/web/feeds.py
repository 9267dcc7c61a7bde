"""Results of streams as server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ehrpose.web.limits import BusyError, Limits
from ehrpose.web.stream_hub import StreamHub
from ehrpose.web.uploads import UploadError

# A line is sent at least this often, seconds, so that proxies and clients see that the connection lives.
PING_S = 15.0


class Feeds:
    """The routes of the streams.

    Args:
        hub: The streams.
        limits: ``watchers`` is used.

    Attributes:
        watchers: Number of connections that follow a source.
    """

    def __init__(self, hub: StreamHub, limits: Limits):
        self.hub, self.limits, self.watchers = hub, limits, 0
        self.routes = [
            Route("/api/streams", self.list),
            Route("/api/streams/{name}/events", self.events),
        ]

    async def list(self, request: Request) -> Response:
        """Return the sources with their states and counts."""
        return JSONResponse({"streams": self.hub.sources()})

    async def events(self, request: Request) -> Response:
        """Return a source's states and people as they come, until it has ended or the client goes."""
        name = request.path_params["name"]
        names = [source["name"] for source in self.hub.sources()]
        if name not in names:
            raise UploadError(404, f"stream {name!r} not found; available: {', '.join(names)}")
        if self.watchers >= self.limits.watchers:
            raise BusyError(f"{self.watchers} connections already follow streams: try again later", 30)
        return StreamingResponse(self._events(name), media_type="text/event-stream")

    async def _events(self, name: str) -> AsyncIterator[str]:
        box = self.hub.subscribe(name)
        self.watchers += 1
        try:
            while True:
                messages = await box.take(PING_S)
                if not messages:
                    yield ": still here\n\n"
                for kind, data in messages:
                    yield _event(kind, data)
                    if kind == "state" and self.hub.is_over(name):
                        return
        finally:
            self.watchers -= 1
            self.hub.unsubscribe(name, box)


def _event(kind: str, data: dict[str, Any]) -> str:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n"
