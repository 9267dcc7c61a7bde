"""Read photos in all common formats into one array layout (no torch).

A file's first bytes choose its format, and its header's size is checked, before a decoder sees it.

OpenCV decodes; what it cannot read goes to Pillow. So do the formats whose orientation OpenCV ignores: WebP with EXIF
(OpenCV 4), animated PNG (OpenCV 5) and AVIF, which states it in its boxes "irot" and "imir" (ISO/IEC 23000-22) and not
in its EXIF. OpenCV and Pillow always turn TIFF, so its orientation is applied here. OpenCV 4 also silently returns the
upper part of a truncated JPEG, so its end marker is checked here.
"""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import cv2
import numpy as np

__all__ = ["ImageReadError", "ImageSizeError", "ImageSource", "read_image"]

ImageSource = Union[str, "os.PathLike[str]", bytes, bytearray, memoryview]

BACKENDS = ("opencv", "pillow")
# Files that are taken as photos where a folder is given.
IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".avif", ".heic", ".heif", ".hif", ".bmp",
    ".dib", ".gif", ".tif", ".tiff", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
# Limits of ``read_image``: a phone's largest photos have 200 megapixels. docs/security.md has the memory per pixel.
MAX_PIXELS = 200_000_000
MAX_BYTES = 2**30
MAX_FRAMES = 100_000
# More channels than this are not a photo; decoders take memory for each.
MAX_CHANNELS = 8
# The size of smaller photos is not compared with that of their file.
_SMALL = 2**22
# Tags of TIFF, the first also of EXIF.
_ORIENTATION, _XMP = 274, 700


class ImageReadError(ValueError):
    """A photo that cannot be used; the message names the file and the reason."""


class ImageSizeError(ImageReadError):
    """A photo beyond a limit of ``read_image``; the message names the limit."""


def read_image(
    source: ImageSource,
    backend: str = "opencv",
    apply_exif: bool = True,
    *,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
    max_frames: int = MAX_FRAMES,
    other_formats: Sequence[str] = (),
) -> np.ndarray:
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
        max_pixels: Largest number of pixels that the header may state.
        max_bytes: Largest size of the file, bytes.
        max_frames: Largest number of frames of an animation, or of pages.
        other_formats: Formats to open besides the usual ones, by Pillow's names: DDS, ICO, PCX, PSD, QOI, SGI, SUN
            or TGA. For files that you trust.

    Returns:
        (H, W, 3) uint8 BGR, C-contiguous.

    Raises:
        ImageReadError: The file is missing, empty, truncated or not an image.
        ImageSizeError: It is beyond a limit; no decoder has seen it.
        ValueError: Unknown backend or format.
    """
    # Loaded here, as opening a model reads no photo.
    from ehrpose import image_formats, image_headers

    if backend not in BACKENDS:
        raise ValueError(f"unknown image backend {backend!r}, expected one of {list(BACKENDS)}")
    others = _check_others(other_formats, image_formats.OTHER_FORMATS)
    data, name = _read_bytes(source, max_bytes)
    if not data:
        raise ImageReadError(f"cannot read photo {name}: the file is empty")
    kind, is_measured = _examine(data, name, others, max_pixels, max_frames)
    turn = 1
    if kind == "TIFF":
        try:
            data, turn = image_headers.prepare_tiff(data, apply_exif)
        except ValueError as error:
            raise ImageReadError(f"cannot read photo {name}: {error}") from error
    reasons: List[str] = []
    for decode in _decoders(data, kind, backend, is_measured):
        try:
            image = decode(data, kind, others, apply_exif, max_pixels)
        except ImageSizeError as error:
            raise ImageSizeError(f"cannot read photo {name}: {error}") from error
        except Exception as error:  # decoders raise errors of many types on broken data
            reasons.append(_reason(error))
            continue
        if image is not None:
            return np.ascontiguousarray(_TURNS[turn](image))
    raise ImageReadError(f"cannot read photo {name}: {image_formats.describe(data)} ({'; '.join(reasons)})")


def _examine(
    data: bytes, name: str, others: Sequence[str], max_pixels: int, max_frames: int
) -> Tuple[Optional[str], bool]:
    """Return a photo's format, and whether its size is known and within the limits; refuse it without decoding."""
    from ehrpose.image_formats import FORMATS, check_complete, describe, kind_of
    from ehrpose.image_headers import read_header

    kind = kind_of(data)
    if kind is None:
        if others:
            return None, False
        raise ImageReadError(f"cannot read photo {name}: {describe(data)}; supported formats: {FORMATS}")
    try:
        check_complete(data)
    except ValueError as error:
        raise ImageReadError(f"cannot read photo {name}: {error}") from error
    try:
        header = read_header(data, kind)
    except ValueError as error:
        raise ImageReadError(f"cannot read photo {name}: {describe(data)} ({error})") from error
    if header is not None:
        _check_header(header, name, max_pixels, max_frames)
    return kind, header is not None


def _decoders(data: bytes, kind: Optional[str], backend: str, is_measured: bool) -> List[Callable]:
    """Return the decoders to try in turn. OpenCV tells no size before it decodes, so it gets measured photos only."""
    if not is_measured:
        return [_decode_pillow]
    if backend == "pillow" or _is_for_pillow(data, kind):
        return [_decode_pillow, _decode_opencv]
    return [_decode_opencv, _decode_pillow]


def _check_others(asked: Sequence[str], known: Sequence[str]) -> Tuple[str, ...]:
    others = (asked,) if isinstance(asked, str) else tuple(asked)
    unknown = [name for name in others if name not in known]
    if unknown:
        raise ValueError(f"other_formats: expected names among {', '.join(known)}, got {unknown[0]!r}")
    return others


def _check_header(header: Any, name: str, max_pixels: int, max_frames: int) -> None:
    """Raise ImageSizeError for a photo beyond a limit, ImageReadError for one that its file cannot contain."""
    try:
        _check_pixels(header.width, header.height, max_pixels)
    except ImageSizeError as error:
        raise ImageSizeError(f"cannot read photo {name}: {error}") from error
    if header.frames > max_frames:
        raise ImageSizeError(
            f"cannot read photo {name}: its {header.frames} frames are too many: max_frames is {max_frames}"
        )
    if header.channels > MAX_CHANNELS:
        raise ImageSizeError(
            f"cannot read photo {name}: expected at most {MAX_CHANNELS} channels, got {header.channels}"
        )
    if header.width * header.height > _SMALL and header.min_bytes > header.stored:
        raise ImageReadError(
            f"cannot read photo {name}: broken or truncated: {header.width} x {header.height} px need at least "
            f"{header.min_bytes} bytes, {header.stored} are there"
        )


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise ImageSizeError(
            f"{width} x {height} px is too large: the limit is {max_pixels / 1e6:g} megapixels (max_pixels)"
        )


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


def _read_bytes(source: ImageSource, max_bytes: int) -> Tuple[bytes, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        _check_bytes(len(source), "given as bytes", max_bytes)
        return bytes(source), "given as bytes"
    try:
        path = Path(source)
    except TypeError:
        raise TypeError(f"expected a path or bytes, got {type(source).__name__}") from None
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            _check_bytes(status.st_size, str(path), max_bytes)
            # A device or pipe states no size.
            data = file.read() if stat.S_ISREG(status.st_mode) else file.read(max_bytes + 1)
        _check_bytes(len(data), str(path), max_bytes)
        return data, str(path)
    except ImageSizeError:
        raise
    except FileNotFoundError:
        raise ImageReadError(f"cannot read photo {path}: file not found") from None
    except IsADirectoryError:
        raise ImageReadError(f"cannot read photo {path}: it is a folder") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageReadError(f"cannot read photo {path}: {reason}") from error


def _check_bytes(size: int, name: str, max_bytes: int) -> None:
    if size > max_bytes:
        raise ImageSizeError(
            f"cannot read photo {name}: {size / 1e6:.1f} MB are too many: the limit is {max_bytes / 1e6:g} MB "
            "(max_bytes)"
        )


def _decode_opencv(
    data: bytes, kind: Optional[str], others: Sequence[str], apply_exif: bool, max_pixels: int
) -> Optional[np.ndarray]:
    if kind == "AVIF":
        if apply_exif and (b"irot" in data or b"imir" in data):
            raise ValueError("this AVIF is turned: install Pillow 11.3 or newer, or pillow-avif-plugin")
        apply_exif = False
    flags = cv2.IMREAD_COLOR if apply_exif else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def _decode_pillow(
    data: bytes, kind: Optional[str], others: Sequence[str], apply_exif: bool, max_pixels: int
) -> np.ndarray:
    with open_with_pillow(data, kind, others) as image:
        width, height = image.size
        _check_pixels(width, height, max_pixels)
        if kind == "TIFF":
            _drop_xmp(image)  # Pillow turns a TIFF while it loads it
        image.load()
        turn = _TURNS[_exif_orientation(image) if apply_exif else 1]
        if image.mode.startswith("I;16"):
            grey = (np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8)
            return turn(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR))
        if image.mode in ("I", "F"):
            raise ValueError(f"pixels of mode {image.mode} have no known range; save it with 8 or 16 bits")
        rgb = image if image.mode == "RGB" else image.convert("RGB")
        return turn(np.asarray(rgb)[:, :, ::-1])


def open_with_pillow(data: bytes, kind: Optional[str], others: Sequence[str] = ()) -> Any:
    """Return an encoded photo as a PIL.Image.Image whose pixels are not decoded yet.

    Args:
        data: The encoded file.
        kind: Its format; Pillow tries no other.
        others: Pillow's names of the formats to try if ``kind`` is None.

    Raises:
        ImportError: Pillow, or pillow-heif for HEIC, is not installed.
        ImageSizeError: It has more pixels than Pillow accepts.
        Exception: Pillow's errors, of many types, if this is not a photo.
    """
    from ehrpose.image_formats import PILLOW_NAMES

    try:
        from PIL import Image
    except ImportError:
        raise ImportError("Pillow, which may support this format, is not installed") from None
    if kind == "HEIC":
        try:
            from pillow_heif import register_heif_opener
        except ImportError:
            raise ImportError("install pillow-heif to read HEIC, or convert the photo to JPEG") from None
        register_heif_opener()
    names = tuple(others) if kind is None else PILLOW_NAMES[kind]
    Image.preinit()
    if not all(name in Image.OPEN for name in names):
        Image.init()
    known = [name for name in names if name in Image.OPEN]
    if not known:
        raise ValueError(f"this Pillow does not read {' or '.join(names)}")
    try:
        return Image.open(io.BytesIO(data), formats=known)
    except Image.DecompressionBombError as error:
        raise ImageSizeError(f"too large for Pillow: {error}") from error


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
