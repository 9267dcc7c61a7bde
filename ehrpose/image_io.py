"""Read photos in all common formats into one array layout (no torch).

OpenCV decodes; what it cannot read goes to Pillow. So do the formats whose orientation OpenCV ignores: WebP with EXIF
(OpenCV 4), animated PNG (OpenCV 5) and AVIF, which states it in its boxes "irot" and "imir" (ISO/IEC 23000-22) and not
in its EXIF. OpenCV and Pillow always turn TIFF, so its orientation is applied here. OpenCV 4 also silently returns the
upper part of a truncated JPEG, so its end marker is checked here.
"""

from __future__ import annotations

import importlib.util
import io
import os
import re
import struct
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

import cv2
import numpy as np

__all__ = ["ImageReadError", "ImageSource", "read_image"]

ImageSource = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]

BACKENDS = ("opencv", "pillow")
# Files that are taken as photos where a folder is given.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".heic", ".heif", ".hif", ".bmp",
    ".dib", ".gif", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
FORMATS = "JPEG, PNG, WebP, AVIF, GIF, BMP, TIFF, JPEG 2000, and HEIC with pillow-heif"
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
# Tags of TIFF, the second also of EXIF.
_BITS, _ORIENTATION, _SAMPLE_FORMAT, _XMP = 258, 274, 339, 700


class ImageReadError(ValueError):
    """A photo that cannot be used; the message names the file and the reason."""


def read_image(source: ImageSource, backend: str = "opencv", apply_exif: bool = True) -> np.ndarray:
    """Read one photo.

    Grey, palette and bilevel images get three channels. Transparency is dropped, not blended: the colours
    stored under it are returned. 16-bit values are reduced to 8 bits (their upper byte). CMYK is converted without
    a colour profile, with inverted inks for JPEG, as in browsers. Of animations, the first frame is returned; of an
    animated PNG, the picture that a program without animation shows.

    Args:
        source: File name, or the encoded file as bytes.
        backend: The decoder to try first, ``"opencv"`` (fast) or ``"pillow"``.
        apply_exif: Turn the photo upright: by its EXIF orientation, or what its format has in place of it. False
            returns the pixels as stored, except for HEIC, which is always upright. Orientations in XMP are ignored,
            as in browsers.

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
    check_range(data, name)
    kind = kind_of(data)
    decoders: List[Callable[[bytes, bool], Optional[np.ndarray]]] = [_decode_opencv, _decode_pillow]
    if backend == "pillow" or _is_for_pillow(data, kind):
        decoders.reverse()
    turn = 1
    if kind == "TIFF":
        data, turn = _prepare_tiff(data, apply_exif)
    reasons: List[str] = []
    for decode in decoders:
        try:
            image = decode(data, apply_exif)
        except Exception as error:  # decoders raise errors of many types on broken data
            reasons.append(_reason(error))
            continue
        if image is not None:
            return np.ascontiguousarray(_TURNS[turn](image))
    raise ImageReadError(f"cannot read photo {name}: {describe(data)} ({'; '.join(reasons)})")


def _reason(error: Exception) -> str:
    """Return a decoder's message in one line, without the address of the object that it was given."""
    text = re.sub(r"\s*<[\w.]+ object at 0x[0-9a-fA-F]+>", "", str(error))
    return " ".join(text.split()) or type(error).__name__


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
    if kind_of(data) == "AVIF":
        if apply_exif and (b"irot" in data or b"imir" in data):
            raise ValueError("this AVIF is turned: install Pillow 11.3 or newer, or pillow-avif-plugin")
        apply_exif = False
    flags = cv2.IMREAD_COLOR if apply_exif else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def _decode_pillow(data: bytes, apply_exif: bool) -> np.ndarray:
    with open_with_pillow(data) as image:
        if kind_of(data) == "TIFF":
            _drop_xmp(image)  # Pillow turns a TIFF while it loads it
        image.load()
        turn = _TURNS[_exif_orientation(image) if apply_exif else 1]
        if image.mode.startswith("I;16"):
            grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
            return turn(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
        if image.mode in ("I", "F"):
            raise ValueError(f"pixels of mode {image.mode} have no known range; save it with 8 or 16 bits")
        return turn(np.asarray(image.convert("RGB"))[:, :, ::-1])


def open_with_pillow(data: bytes) -> Any:
    """Return an encoded photo as a PIL.Image.Image whose pixels are not decoded yet.

    Raises:
        ImportError: Pillow, or pillow-heif for HEIC, is not installed.
        Exception: Pillow's errors, of many types, if this is not a photo.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ImportError("Pillow, which may support this format, is not installed") from None
    if kind_of(data) == "HEIC":
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise ImportError("install pillow-heif to read HEIC, or convert the photo to JPEG") from None
        register_heif_opener()
    return Image.open(io.BytesIO(data))


def _drop_xmp(tiff: Any) -> None:
    tiff.info.pop("xmp", None)
    if _XMP in tiff.tag_v2:
        del tiff.tag_v2[_XMP]


def _exif_orientation(image: Any) -> int:
    """Return the orientation in the EXIF of a loaded photo; unlike Pillow, not one in its XMP or other text."""
    from PIL import Image

    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif"))
    except Exception:  # broken EXIF; Pillow raises errors of many types
        return 1
    orientation = exif.get(_ORIENTATION, 1)
    return orientation if orientation in _TURNS else 1


def _check_complete(data: bytes, name: str) -> None:
    """Raise ImageReadError for truncated JPEG and PNG files."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        kind, is_complete = "PNG", b"IEND" in data
    else:
        kind, is_complete = "JPEG", not data.startswith(b"\xff\xd8\xff") or _has_jpeg_end(data)
    if not is_complete:
        raise ImageReadError(f"cannot read photo {name}: the {kind} is truncated, its end is missing")


def _is_for_pillow(data: bytes, kind: Optional[str]) -> bool:
    if kind == "PNG":
        return b"acTL" in data[: data.find(b"IDAT")]
    return kind in ("AVIF", "HEIC") or (kind == "WebP" and b"EXIF" in data)


# EXIF orientation to what turns the stored pixels upright.
_TURNS: Dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: image[::-1, ::-1].transpose(1, 0, 2),
    8: lambda image: np.rot90(image, 1),
}


def check_range(data: bytes, name: str) -> None:
    """Raise ImageReadError for a TIFF whose pixels have no known range, such as floating-point numbers."""
    if kind_of(data) != "TIFF":
        return
    places = _tiff_places(data)
    bits, sample = _short(data, places.get(_BITS), 1), _short(data, places.get(_SAMPLE_FORMAT), 1)
    if bits > 16 or sample in (2, 3):
        numbers = {2: "signed integers", 3: "floating-point numbers"}.get(sample, "integers")
        raise ImageReadError(
            f"cannot read photo {name}: expected a TIFF of 8-bit or 16-bit unsigned integers, got {bits}-bit "
            f"{numbers}, whose range is unknown: convert it first"
        )


def _prepare_tiff(data: bytes, apply_exif: bool) -> Tuple[bytes, int]:
    """Return a TIFF without its orientation, and the orientation to apply."""
    place = _tiff_places(data).get(_ORIENTATION)
    turn = _short(data, place, 1)
    if place is None or turn not in _TURNS:
        return data, 1
    one = struct.pack(_byte_order(data) + "H", 1)
    return data[:place] + one + data[place + 2 :], turn if apply_exif else 1


def _byte_order(data: bytes) -> str:
    return "<" if data.startswith(b"II") else ">"


def _short(data: bytes, place: Optional[int], default: int) -> int:
    return default if place is None else struct.unpack_from(_byte_order(data) + "H", data, place)[0]


def _tiff_places(data: bytes) -> Dict[int, int]:
    """Return where the first value of each SHORT tag of a TIFF's or BigTIFF's first image lies in the file."""
    order, is_big = _byte_order(data), b"\x2b" in data[2:4]
    offset, number, entry, inline = ("Q", "Q", "HHQ", 8) if is_big else ("I", "H", "HHI", 4)
    places: Dict[int, int] = {}
    try:
        (start,) = struct.unpack_from(order + offset, data, inline)
        (count,) = struct.unpack_from(order + number, data, start)
        start += struct.calcsize("=" + number)
        step = struct.calcsize("=" + entry)
        for at in range(start, start + count * (step + inline), step + inline):
            tag, kind, values = struct.unpack_from(order + entry, data, at)
            if kind != 3:  # not SHORT
                continue
            place = at + step
            if 2 * values > inline:
                (place,) = struct.unpack_from(order + offset, data, place)
            if place + 2 <= len(data):
                places[tag] = place
    except (struct.error, OverflowError):  # broken, as the decoder will find
        pass
    return places


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


def kind_of(data: bytes) -> Optional[str]:
    """Return the format that an encoded photo's first bytes state, such as ``"JPEG"``; None if it is unknown."""
    if data[4:8] == b"ftyp":
        brands = {data[at : at + 4] for at in (8, *range(16, min(int.from_bytes(data[:4], "big"), 256), 4))}
        if brands & {b"avif", b"avis"}:
            return "AVIF"
        return "HEIC" if brands & _HEIC else None
    if data.startswith(b"RIFF"):
        return "WebP" if data[8:12] == b"WEBP" else None
    return next((kind for start, kind in _STARTS.items() if data.startswith(start)), None)


def describe(data: bytes) -> str:
    """Return what the bytes of an unreadable photo are, for a message."""
    kind = kind_of(data)
    if kind == "HEIC" and not _has_heif():
        return "a HEIC photo"
    if kind is not None:
        return f"a broken {kind}"
    if data[4:8] == b"ftyp" or (data.startswith(b"RIFF") and data[8:12] == b"AVI "):
        return f"a video or another media file, not an image ({data[8:12]!r})"
    if data.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "a JPEG XL photo, which is not supported: convert it to JPEG or PNG"
    return f"not an image, it begins with {data[:12]!r}"


def _has_heif() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None
