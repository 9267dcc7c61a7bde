"""Uploaded photos: limited while they arrive, checked before they are decoded."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import anyio
import numpy as np

from ehrpose.image_formats import FORMATS, describe, kind_of
from ehrpose.image_headers import read_header
from ehrpose.image_io import ImageReadError, ImageSizeError, open_with_pillow, read_image
from ehrpose.web.limits import Limits

# What a decoder may take: per pixel, and at all times. Photos of 49 megapixels took 6 (JPEG, PNG) to 16 (AVIF) bytes
# per pixel, a turned WebP 22 or, limited, less; the bound keeps the promise of 1 GB for 50 megapixels.
_BYTES_PER_PIXEL, _BYTES_ALWAYS = 16, 50_000_000


class UploadError(ValueError):
    """A photo that is rejected; ``status`` is the HTTP status."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


# How errors of read_image name a photo without a file.
_UPLOAD = "given as bytes"
# Content types of forms, and of a photo inside something else. Curl sends --data-binary as urlencoded.
_WRAPPED = ("multipart/", "application/json")


def check_type(content_type: str | None) -> None:
    """Refuse a body that contains the photo in a form instead of being it.

    Args:
        content_type: The Content-Type header, if there is one.

    Raises:
        UploadError: 415 for a form or JSON.
    """
    kind = (content_type or "").split(";")[0].strip().lower()
    if kind.startswith(_WRAPPED):
        raise UploadError(
            415,
            f"expected the photo's bytes as the request's body, got {kind}: send the file itself, "
            "as curl --data-binary @photo.jpg does",
        )


def declared_size(declared: str | None, max_bytes: int) -> int:
    """Return the memory that a body may take, in bytes; ``max_bytes`` if it does not state its size.

    Args:
        declared: The Content-Length header, if there is one.
        max_bytes: Maximum size.

    Raises:
        UploadError: 413 if it is larger.
    """
    if declared is None or not declared.isdigit():
        return max_bytes
    if int(declared) > max_bytes:
        raise UploadError(
            413, f"this photo has {int(declared) / 1e6:.1f} MB, the limit is {max_bytes / 1e6:g} MB"
        )
    return int(declared)


async def read_limited(stream: AsyncIterator[bytes], limits: Limits) -> bytes:
    """Return a request's body.

    Args:
        stream: Its chunks as they arrive.
        limits: ``max_bytes``, ``body_s``, ``grace_s`` and ``min_rate`` are used.

    Raises:
        UploadError: 408 if it takes too long, 413 if it is too large; the rest is not read.
    """
    parts: list[bytes] = []
    size, start = 0, time.monotonic()
    chunks = stream.__aiter__()
    while True:
        # What came so far pays for this much time.
        paid = max(limits.grace_s, size / limits.min_rate)
        left = min(limits.body_s, paid) - (time.monotonic() - start)
        try:
            with anyio.fail_after(left):
                part = await chunks.__anext__()
        except StopAsyncIteration:
            return b"".join(parts)
        except TimeoutError:
            expected = f"{limits.min_rate / 1000:g} kB/s, and all of it within {limits.body_s:g} s"
            seconds = time.monotonic() - start
            raise UploadError(
                408, f"the upload is too slow: expected {expected}, got {size} bytes in {seconds:.1f} s"
            ) from None
        size += len(part)
        if size > limits.max_bytes:
            raise UploadError(413, f"this photo is too large, the limit is {limits.max_bytes / 1e6:g} MB")
        parts.append(part)


def photo_size(data: bytes, max_pixels: int) -> tuple[int, int]:
    """Return width and height that a photo's header states; a small file may contain an image that fills the memory.

    Raises:
        UploadError: 400 for an empty body, 413 for too many pixels, 415 if it is not an image.
    """
    if not data:
        raise UploadError(400, "the request contains no photo: send the file as its body")
    try:
        width, height = _stated_size(data)
    except ImageSizeError as error:
        raise UploadError(413, f"too many pixels: {error}") from error
    except ImportError as error:
        raise UploadError(415, f"cannot decode this image: {describe(data)} ({error})") from error
    except Exception as error:  # Pillow raises errors of many types on broken data
        message = f"cannot decode this image: {describe(data)}; supported formats: {FORMATS}"
        raise UploadError(415, message) from error
    _check_pixels(width, height, max_pixels)
    return width, height


def _stated_size(data: bytes) -> tuple[int, int]:
    kind = kind_of(data)
    if kind is None:
        raise ImageReadError("an unknown format")
    header = read_header(data, kind)
    if header is not None:
        return header.width, header.height
    with open_with_pillow(data, kind) as opened:
        return opened.size


def decode_photo(data: bytes, max_pixels: int) -> np.ndarray:
    """Return a photo, (H, W, 3) uint8 BGR, whose size is read from its header first.

    Raises:
        UploadError: As for ``photo_size``; 413 also if decoding takes too much memory.
    """
    width, height = photo_size(data, max_pixels)
    memory = _BYTES_ALWAYS + _BYTES_PER_PIXEL * width * height
    try:
        with memory_limit(memory):
            return read_image(data, max_pixels=max_pixels)
    except ImageReadError as error:
        reason = str(error).replace("cannot read photo given as bytes: ", "")
        if "memory" in reason.lower():
            message = f"decoding {width} x {height} px took more than {memory / 1e6:.0f} MB: make it smaller, or a JPEG"
            raise UploadError(413, message) from error
        if isinstance(error, ImageSizeError):
            raise UploadError(413, reason.replace(" (max_pixels)", "")) from error
        raise UploadError(415, f"cannot decode this image: {reason}") from error


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise UploadError(
            413,
            f"{width} x {height} px is too large: the limit is {max_pixels / 1e6:g} megapixels",
        )


@contextmanager
def silence() -> Iterator[None]:
    """Drop what libraries in C write to stderr: decoders comment on broken files, without end and without a limit."""
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Let this process take at most ``more`` bytes beyond what it has; allocations beyond that fail. Linux only."""
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + more
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Return what the kernel counts against RLIMIT_DATA: private writable memory, in bytes."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as status:
        return next((1024 * int(line.split()[1]) for line in status if line.startswith("VmData:")), 0)
