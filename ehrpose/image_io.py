"""Read photos in all common formats into one array layout (no torch).

OpenCV decodes; what it cannot read goes to Pillow, and so does WebP with EXIF, whose orientation OpenCV 4
ignores. OpenCV 4 also silently returns the upper part of a truncated JPEG, so its end marker is checked here.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Callable, List, Optional, Tuple, Union

import cv2
import numpy as np

__all__ = ["ImageReadError", "ImageSource", "read_image"]

ImageSource = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]

BACKENDS = ("opencv", "pillow")


class ImageReadError(ValueError):
    """A photo that cannot be used; the message names the file and the reason."""


def read_image(source: ImageSource, backend: str = "opencv", apply_exif: bool = True) -> np.ndarray:
    """Read one photo.

    Grey, palette and bilevel images get three channels. Transparency is dropped, not blended: the colours
    stored under it are returned. 16-bit values are reduced to 8 bits (their upper byte). CMYK is converted without
    a colour profile, with inverted inks for JPEG, as in browsers. Of animations, the first frame is returned.

    Args:
        source: File name, or the encoded file as bytes.
        backend: The decoder to try first, ``"opencv"`` (fast) or ``"pillow"``.
        apply_exif: Rotate the photo by its EXIF orientation. OpenCV always does so for TIFF files.

    Returns:
        (H, W, 3) uint8 BGR, C-contiguous.

    Raises:
        ImageReadError: The file is missing, empty, truncated or not an image.
        ValueError: Unknown backend.
    """
    if backend not in BACKENDS:
        raise ValueError(f"unknown image backend {backend!r}, expected one of {list(BACKENDS)}")
    data, name = _read_bytes(source)
    if not data:
        raise ImageReadError(f"cannot read photo {name}: the file is empty")
    _check_complete(data, name)
    decoders: List[Callable[[bytes, bool], Optional[np.ndarray]]] = [_decode_opencv, _decode_pillow]
    if backend == "pillow" or _is_for_pillow(data):
        decoders.reverse()
    reasons: List[str] = []
    for decode in decoders:
        try:
            image = decode(data, apply_exif)
        except Exception as error:  # decoders raise errors of many types on broken data
            reasons.append(" ".join(str(error).split()) or type(error).__name__)
            continue
        if image is not None:
            return np.ascontiguousarray(image)
    raise ImageReadError(f"cannot read photo {name}: {_describe(data)} ({'; '.join(reasons)})")


def check_image(image: np.ndarray) -> np.ndarray:
    """Return ``image`` if it is a non-empty (H, W, 3) uint8 array; else raise ValueError."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(
            f"expected an image as a (H, W, 3) uint8 BGR array, got {image.shape} {image.dtype}; read_image returns one"
        )
    return image


def _read_bytes(source: ImageSource) -> Tuple[bytes, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), "given as bytes"
    try:
        path = Path(source)
    except TypeError:
        raise TypeError(f"expected a path or bytes, got {type(source).__name__}") from None
    try:
        return path.read_bytes(), str(path)
    except FileNotFoundError:
        raise ImageReadError(f"cannot read photo {path}: file not found") from None
    except IsADirectoryError:
        raise ImageReadError(f"cannot read photo {path}: it is a folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageReadError(f"cannot read photo {path}: {reason}") from error


def _decode_opencv(data: bytes, apply_exif: bool) -> Optional[np.ndarray]:
    flags = cv2.IMREAD_COLOR if apply_exif else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def _decode_pillow(data: bytes, apply_exif: bool) -> np.ndarray:
    try:
        from PIL import Image, ImageOps
    except ImportError:
        raise ImportError("Pillow, which may support this format, is not installed") from None
    with Image.open(io.BytesIO(data)) as opened:
        image = ImageOps.exif_transpose(opened) if apply_exif else opened
        if image.mode.startswith("I;16"):
            grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
            return cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR)
        if image.mode in ("I", "F"):
            raise ValueError(f"pixels of mode {image.mode} have no known range; save it with 8 or 16 bits")
        return np.asarray(image.convert("RGB"))[:, :, ::-1]


def _check_complete(data: bytes, name: str) -> None:
    """Raise ImageReadError for truncated JPEG and PNG files."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind, is_complete = "PNG", b"IEND" in data
    else:
        kind, is_complete = "JPEG", not data.startswith(b"\xff\xd8\xff") or _has_jpeg_end(data)
    if not is_complete:
        raise ImageReadError(f"cannot read photo {name}: the {kind} is truncated, its end is missing")


def _is_for_pillow(data: bytes) -> bool:
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP" and b"EXIF" in data


def _has_jpeg_end(data: bytes) -> bool:
    """Return whether an end marker follows the pixels; thumbnails in the header have their own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker == 0xDA:  # start of scan; the end marker cannot occur in its data
            return data.find(b"\xff\xd9", at) >= 0
        else:
            at += 2 + struct.unpack(">H", data[at + 2 : at + 4])[0]
    return False


def _describe(data: bytes) -> str:
    known = {b"\xff\xd8\xff": "a broken JPEG", b"\x89PNG": "a broken PNG", b"GIF8": "a broken GIF",
             b"RIFF": "a broken WebP", b"BM": "a broken BMP", b"II*\0": "a broken TIFF",
             b"MM\0*": "a broken TIFF"}  # fmt: skip
    for start, description in known.items():
        if data.startswith(start):
            return description
    return f"not an image, it begins with {data[:12]!r}"
