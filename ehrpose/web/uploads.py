"""Uploaded photos: limited while they arrive, checked before they are decoded."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np

from ehrpose.image_io import ImageReadError, ImageSizeError, read_image


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


async def read_limited(stream: AsyncIterator[bytes], declared: str | None, max_bytes: int) -> bytes:
    """Return a request's body.

    Args:
        stream: Its chunks as they arrive.
        declared: The Content-Length header, if there is one.
        max_bytes: Maximum size.

    Raises:
        UploadError: 413 if it is larger; the rest is not read.
    """
    limit = f"the limit is {max_bytes / 1e6:g} MB"
    if declared is not None and declared.isdigit() and int(declared) > max_bytes:
        raise UploadError(413, f"this photo has {int(declared) / 1e6:.1f} MB, {limit}")
    parts, size = [], 0
    async for part in stream:
        size += len(part)
        if size > max_bytes:
            raise UploadError(413, f"this photo is too large, {limit}")
        parts.append(part)
    return b"".join(parts)


def decode_photo(data: bytes, max_pixels: int) -> np.ndarray:
    """Return a photo, (H, W, 3) uint8 BGR.

    Its format and size are read from its first bytes: a small file may contain an image that fills the memory.

    Raises:
        UploadError: 400 for an empty body, 413 for too many pixels, 415 if it is not an image.
    """
    if not data:
        raise UploadError(400, "the request contains no photo: send the file as its body")
    try:
        return read_image(data, max_pixels=max_pixels)
    except ImageReadError as error:
        reason = str(error).replace("cannot read photo given as bytes: ", "")
        if isinstance(error, ImageSizeError):
            raise UploadError(413, reason.replace(" (max_pixels)", "")) from error
        raise UploadError(415, f"cannot decode this image: {reason}") from error
