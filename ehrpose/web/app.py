"""The web page and its API: photos in, people as JSON out. Nothing is stored or loaded from other sites."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ehrpose.version import __version__
from ehrpose.web.feeds import Feeds
from ehrpose.web.guard import HEADERS, LOCAL_HOSTS, Guard
from ehrpose.web.limits import Budget, BusyError, Limits
from ehrpose.web.metrics import Measured, Metrics
from ehrpose.web.model_pool import ModelPool
from ehrpose.web.stream_hub import StreamHub
from ehrpose.web.uploads import UploadError, check_type, declared_size, read_limited
from ehrpose.web.worker import ModelFailedError

STATIC = Path(__file__).parent / "static"
logger = logging.getLogger("ehrpose.web")


def create_app(
    pool: ModelPool,
    limits: Limits | None = None,
    hosts: Sequence[str] = LOCAL_HOSTS,
    token: str | None = None,
    preload: bool = False,
    streams: StreamHub | None = None,
) -> Starlette:
    """Return the application. It ends the pool's processes when the server stops.

    Args:
        pool: The models.
        limits: Sizes and times; None takes those of the pool.
        hosts: Host names that are answered, by default those of this machine, which pages of other sites cannot send.
        token: Required in the header ``Authorization: Bearer`` of all requests but those for the page.
        preload: Load the first model at the start, in the background: the page is there at once, and photos wait.
        streams: Sources whose results clients can follow.
    """
    limits = limits or pool.limits
    metrics = Metrics()
    feeds = None if streams is None else Feeds(streams, limits)
    interface = _Interface(pool, limits, metrics, feeds)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        loading = asyncio.create_task(pool.load(pool.names[0])) if preload else None
        if streams is not None:
            streams.start()
        yield
        pool.close()
        if streams is not None:
            await streams.close()
        if loading is not None:
            await loading

    return Starlette(
        routes=[
            Route("/", lambda request: FileResponse(STATIC / "index.html")),
            Route("/api/health", interface.health),
            Route("/api/models", interface.models),
            Route("/api/predict", interface.predict, methods=["POST"]),
            Route("/api/heatmap", interface.heatmap, methods=["POST"]),
            Route("/metrics", interface.counts),
            *(feeds.routes if feeds is not None else []),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(Measured, metrics=metrics),
            Middleware(Guard, hosts=hosts, token=token, limits=limits),
        ],
        exception_handlers={
            UploadError: _refused,
            BusyError: _busy,
            ClientDisconnect: _gone,
            ModelFailedError: _model_failed,
            500: _failed,
        },
        lifespan=lifespan,
    )


class _Interface:
    def __init__(self, pool: ModelPool, limits: Limits, metrics: Metrics, feeds: Feeds | None):
        self.pool, self.limits, self.metrics, self.feeds = pool, limits, metrics, feeds
        self._bodies = Budget(max(limits.bodies, limits.max_bytes), "uploads", limits.max_bytes)

    async def health(self, request: Request) -> Response:
        """Return 200, also while a model loads, or 503 if one failed repeatedly."""
        named = {"failing": self.pool.failing, "loading": self.pool.loading}
        named = {status: names for status, names in named.items() if names}
        state = {"status": next(iter(named), "ok"), "version": __version__, **named}
        return JSONResponse(state, 503 if "failing" in named else 200)

    async def models(self, request: Request) -> Response:
        """Return the models, the default first, and the limits."""
        pool = self.pool
        models = [
            {"name": name, "open": pool.is_open(name), "state": pool.state(name)} for name in pool.names
        ]
        limits = {"max_bytes": self.limits.max_bytes, "max_pixels": self.limits.max_pixels}
        return JSONResponse({"models": models, "limits": limits})

    async def counts(self, request: Request) -> Response:
        """Return what the server has done so far, for Prometheus."""
        return self.metrics.answer(self.pool, self.feeds)

    async def predict(self, request: Request) -> Response:
        """Return the people in the photo of the request body, and the skeleton to draw them with."""
        start = time.perf_counter()
        name, found, _ = await self._answer(request, "predict")
        self.metrics.people += len(found["people"])
        found["times_ms"]["total"] = round(1000 * (time.perf_counter() - start), 1)
        return JSONResponse({"model": name, **found})

    async def heatmap(self, request: Request) -> Response:
        """Return the maximum of all heatmaps over the photo, a PNG that is transparent where they are zero."""
        _, _, picture = await self._answer(request, "heatmap")
        return Response(picture, media_type="image/png")

    async def _answer(self, request: Request, task: str) -> tuple[str, dict[str, Any], bytes]:
        """Return the model's name and its answer. Whether there is room is known before the body is read."""
        name = self._model_name(request)
        check_type(request.headers.get("content-type"))
        size = declared_size(request.headers.get("content-length"), self.limits.max_bytes)
        client = _client(request)
        with self.pool.place(name, client), self._bodies.take(size, client):
            data = await read_limited(request.stream(), self.limits)
            return name, *await self.pool.run(name, task, data, request.is_disconnected, client)

    def _model_name(self, request: Request) -> str:
        unknown = sorted(set(request.query_params) - {"model"})
        if unknown:
            raise UploadError(
                400, f"unknown parameter {unknown[0]!r}, expected only 'model': people are drawn by the page"
            )
        name = request.query_params.get("model", self.pool.names[0])
        if name not in self.pool.names:
            raise UploadError(404, f"model {name!r} not found; available: {', '.join(self.pool.names)}")
        return name


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, UploadError)
    logger.warning("upload from %s refused: %s", _client(request), " ".join(str(error).split())[:300])
    return JSONResponse({"error": str(error)}, error.status)


async def _busy(request: Request, error: Exception) -> Response:
    assert isinstance(error, BusyError)
    return JSONResponse({"error": str(error)}, 503, {"Retry-After": str(error.retry_s)})


async def _gone(request: Request, error: Exception) -> Response:
    """Answer an upload that breaks off: no one receives it, but without it the server logs a traceback."""
    logger.warning("upload from %s broke off", _client(request))
    return JSONResponse({"error": "the upload broke off"}, 400)


async def _model_failed(request: Request, error: Exception) -> Response:
    logger.error("a model failed:\n%s", error)
    return JSONResponse({"error": "the server failed to process this photo; see its log"}, 500)


async def _failed(request: Request, error: Exception) -> Response:
    # Starlette answers outside all middleware here.
    return JSONResponse({"error": "the server failed to process this photo; see its log"}, 500, HEADERS)


def _client(request: Request) -> str:
    return request.client.host if request.client else "?"
