"""Reading every photo of a data set once: whether it can be read, its size, its orientation, a small grey picture.

JPEG is decoded at a quarter or an eighth of its size, which takes a few milliseconds.
"""

from __future__ import annotations

import contextlib
from typing import List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from ehrpose.data_check.data_labels import PhotoEntry
from ehrpose.image_formats import check_complete, kind_of
from ehrpose.image_headers import read_header
from ehrpose.image_io import MAX_PIXELS, open_with_pillow, read_image
from ehrpose.progress import Progress

# Side of the small grey picture, px; and the shortest side that a reduced photo must keep for it.
SMALL = 32
_LEAST = 40
_ORIENTATION = 274


class PhotoFacts(NamedTuple):
    """What a photo's file says.

    Attributes:
        problem: Why it cannot be used; empty if it can.
        size: (width, height), px, upright; None if it cannot be used.
        turned: Whether its orientation exchanges width and height.
        small: (32, 32) float32 grey picture, or None.
    """

    problem: str = ""
    size: Optional[Tuple[int, int]] = None
    turned: bool = False
    small: Optional[np.ndarray] = None


def scan_photos(photos: Sequence[PhotoEntry]) -> List[PhotoFacts]:
    """Return what each photo's file says; a bar on stderr shows the progress."""
    facts = []
    with Progress(len(photos), "photos") as progress:
        for entry in photos:
            facts.append(scan_photo(entry))
            progress.step()
    return facts


def scan_photo(entry: PhotoEntry) -> PhotoFacts:
    """Return what a photo's file says."""
    try:
        data = entry.path.read_bytes()
    except FileNotFoundError:
        return PhotoFacts("file not found")
    except OSError as error:
        return PhotoFacts(f"cannot be read: {error.strerror or error}")
    try:
        return _examine(data)
    except (ValueError, cv2.error) as error:
        text = " ".join(str(error).split())
        return PhotoFacts(text.replace("cannot read photo given as bytes: ", "") or "cannot be decoded")


def _examine(data: bytes) -> PhotoFacts:
    kind = kind_of(data)
    header = read_header(data, kind) if kind == "JPEG" else None
    if header is None or header.width * header.height > MAX_PIXELS:
        image = read_image(data)
        height, width = image.shape[:2]
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return PhotoFacts("", (width, height), _is_turned(data, kind), _small(grey))
    check_complete(data)
    turned = _is_turned(data, kind)
    size = (header.height, header.width) if turned else (header.width, header.height)
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), _flags(min(size)))
    grey = cv2.cvtColor(read_image(data), cv2.COLOR_BGR2GRAY) if decoded is None else decoded
    return PhotoFacts("", size, turned, _small(grey))


def _flags(side: int) -> int:
    if side >= 8 * _LEAST:
        return int(cv2.IMREAD_REDUCED_GRAYSCALE_8)
    return int(cv2.IMREAD_REDUCED_GRAYSCALE_4 if side >= 4 * _LEAST else cv2.IMREAD_GRAYSCALE)


def _small(grey: np.ndarray) -> np.ndarray:
    return cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA).astype(np.float32)


def _is_turned(data: bytes, kind: Optional[str]) -> bool:
    """Return whether the EXIF orientation of a photo exchanges width and height."""
    if kind is None or b"Exif" not in data[: 2**17]:
        return False
    with contextlib.suppress(Exception), open_with_pillow(data, kind) as image:  # Pillow raises many types
        return image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    return False
