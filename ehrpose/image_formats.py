"""The formats of photos, decided by the first bytes of a file before any decoder sees it (no torch)."""

from __future__ import annotations

import importlib.util
import re
import struct
from typing import Optional

FORMATS = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, JPEG 2000, PPM, PGM and PBM, and HEIC with pillow-heif"
# Opened on request only, all of them by Pillow alone. Formats for which Pillow starts another program (EPS) or calls
# what other packages registered (WMF, GRIB and so on) are not among these.
OTHER_FORMATS = ("DDS", "ICO", "PCX", "PSD", "QOI", "SGI", "SUN", "TGA")
# The names by which Pillow knows the formats: it is given these and no others to try.
PILLOW_NAMES = {
    "JPEG": ("JPEG", "MPO"), "PNG": ("PNG",), "WebP": ("WEBP",), "AVIF": ("AVIF",), "HEIC": ("HEIF",),
    "GIF": ("GIF",), "BMP": ("BMP",), "TIFF": ("TIFF",), "JPEG 2000": ("JPEG2000",), "PPM": ("PPM",),
}  # fmt: skip
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_STARTS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
    b"\0\0\0\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
}


def kind_of(data: bytes) -> Optional[str]:
    """Return the format that an encoded photo's first bytes state, such as ``"JPEG"``; None if it is unknown."""
    if data[4:8] == b"ftyp":
        brands = {data[at : at + 4] for at in (8, *range(16, min(int.from_bytes(data[:4], "big"), 256), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIC" if brands & _HEIC else None
    if data.startswith(b"RIFF"):
        return "WebP" if data[8:12] == b"WEBP" else None
    if re.match(rb"P[1-6][\s#]", data):
        return "PPM"
    return next((kind for start, kind in _STARTS.items() if data.startswith(start)), None)


def describe(data: bytes) -> str:
    """Return what the bytes of an unreadable photo are, for a message."""
    kind = kind_of(data)
    if kind == "HEIC" and importlib.util.find_spec("pillow_heif") is None:
        return "a HEIC photo"
    if kind is not None:
        return f"a broken {kind}"
    if data[4:8] == b"ftyp" or (data.startswith(b"RIFF") and data[8:12] == b"AVI "):
        return f"a video or another media file, not an image ({data[8:12]!r})"
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "a JPEG XL photo, which is not supported: convert it to JPEG or PNG"
    if data.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6", b"%PDF")):
        return "a PostScript or PDF document, which is never opened: convert it to PNG"
    return f"not an image, it begins with {data[:12]!r}"


def check_complete(data: bytes) -> None:
    """Raise ValueError for truncated JPEG and PNG files."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind, is_complete = "PNG", b"IEND" in data
    else:
        kind, is_complete = "JPEG", not data.startswith(b"\xff\xd8\xff") or _has_jpeg_end(data)
    if not is_complete:
        raise ValueError(f"the {kind} is truncated, its end is missing")


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
