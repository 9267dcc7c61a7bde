"""The web page and its API: photos in, people as JSON out. Nothing is stored or loaded from other sites."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ehrpose.inferencers.predictors import photo_maps
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.people_json import people_to_dicts
from ehrpose.version import __version__
from ehrpose.web.model_pool import BusyError, ModelPool
from ehrpose.web.uploads import UploadError, check_type, decode_photo, read_limited

STATIC = Path(__file__).parent / "static"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]", "testserver")
# The page needs its own files, images that it creates itself, and the camera.
_POLICY = "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Limits:
    """Limits of an upload.

    Attributes:
        max_bytes: Maximum file size.
        max_pixels: Maximum number of pixels.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000


def create_app(pool: ModelPool, limits: Limits | None = None, only_local: bool = True) -> Starlette:
    """Return the application.

    Args:
        pool: The models.
        limits: Limits of an upload.
        only_local: Answer only requests whose host is this machine, which pages of other sites cannot send.
    """
    interface = _Interface(pool, limits or Limits())
    hosts = list(LOCAL_HOSTS) if only_local else ["*"]
    return Starlette(
        routes=[
            Route("/", lambda request: FileResponse(STATIC / "index.html", headers=_headers())),
            Route("/api/health", interface.health),
            Route("/api/models", interface.models),
            Route("/api/predict", interface.predict, methods=["POST"]),
            Route("/api/heatmap", interface.heatmap, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts)],
        exception_handlers={
            UploadError: _refused,
            BusyError: _refused,
            ClientDisconnect: _gone,
            500: _failed,
        },
    )


def _headers() -> dict[str, str]:
    return {
        "Content-Security-Policy": _POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }


class _Interface:
    def __init__(self, pool: ModelPool, limits: Limits):
        self.pool, self.limits = pool, limits

    async def health(self, request: Request) -> Response:
        return JSONResponse({"status": "ok", "version": __version__})

    async def models(self, request: Request) -> Response:
        """Return the models, the default first, and the limits."""
        models = [{"name": name, "open": self.pool.is_open(name)} for name in self.pool.names]
        limits = {"max_bytes": self.limits.max_bytes, "max_pixels": self.limits.max_pixels}
        return JSONResponse({"models": models, "limits": limits})

    async def predict(self, request: Request) -> Response:
        """Return the people in the photo of the request body, and the skeleton to draw them with."""
        start = time.perf_counter()
        name = self._model_name(request)
        data = await self._body(request)
        photo, read_ms = await run_in_threadpool(self._decode, data)
        people, meta, network_ms = await run_in_threadpool(self.pool.find, name, photo)
        return JSONResponse(
            {
                "model": name,
                "width": photo.shape[1],
                "height": photo.shape[0],
                "people": people_to_dicts(people),
                "skeleton": _skeleton(meta),
                "times_ms": {
                    "read": round(read_ms, 1),
                    "find": round(network_ms, 1),
                    "total": round(1000 * (time.perf_counter() - start), 1),
                },
            }
        )

    async def heatmap(self, request: Request) -> Response:
        """Return the maximum of all heatmaps over the photo, a PNG that is transparent where they are zero."""
        name = self._model_name(request)
        data = await self._body(request)
        photo, _ = await run_in_threadpool(self._decode, data)
        return Response(await run_in_threadpool(self._heat_png, name, photo), media_type="image/png")

    def _heat_png(self, name: str, photo: np.ndarray) -> bytes:
        with self.pool.use(name) as predictor:
            try:
                maps = photo_maps(predictor, photo)
            except ValueError as error:  # candidates instead of maps
                raise UploadError(400, str(error)) from error
        heat = np.asarray(maps.heat4 if maps.heat2 is None else maps.heat2).max(axis=0)
        values = (np.clip(heat, 0, 1) * 255).astype(np.uint8)
        colors = cv2.cvtColor(cv2.applyColorMap(values, cv2.COLORMAP_JET), cv2.COLOR_BGR2BGRA)
        colors[..., 3] = np.clip(values.astype(np.int32) * 2, 0, 215)
        return cv2.imencode(".png", colors)[1].tobytes()

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

    async def _body(self, request: Request) -> bytes:
        check_type(request.headers.get("content-type"))
        return await read_limited(
            request.stream(), request.headers.get("content-length"), self.limits.max_bytes
        )

    def _decode(self, data: bytes) -> tuple[np.ndarray, float]:
        start = time.perf_counter()
        photo = decode_photo(data, self.limits.max_pixels)
        return photo, 1000 * (time.perf_counter() - start)


def _skeleton(meta: KeypointMeta) -> dict[str, Any]:
    return {
        "names": list(meta.names),
        "limbs": [list(map(int, limb)) for limb in meta.skeleton],
        "keypoint_colors": np.asarray(meta.keypoint_colors).tolist(),
        "limb_colors": np.asarray(meta.limb_colors).tolist(),
    }


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status if isinstance(error, UploadError) else 503
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"error": str(error)}, status, headers)


async def _gone(request: Request, error: Exception) -> Response:
    """Answer an upload that breaks off: no one receives it, but without it the server logs a traceback."""
    return JSONResponse({"error": "the upload broke off"}, 400)


async def _failed(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": "the server failed to process this photo; see its log"}, 500)
