"""Photos: damaged ones end in a picture or in ImageReadError, within a limit of memory; what reading costs.

The photos are drawn and encoded when they are needed. Memory is read from /proc, so it is measured on Linux only.
"""

from __future__ import annotations

import gc
import io
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrpose.analysis.reliability.mutation import Outcome, case_rng, damage
from ehrpose.image_io import ImageReadError, read_image

# Most that reading a photo of 60 x 40 pixels may take. A header that promises 16.8 million pixels is believed in every
# format, and no decoder takes more than 22 bytes for each.
MAX_MEGABYTES = 400
_CLEAR = Path("/proc/self/clear_refs")


def picture(width: int = 60, height: int = 40) -> np.ndarray:
    """Return a (height, width, 3) uint8 picture of smooth noise."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def encoders() -> dict[str, Callable[[np.ndarray], bytes]]:
    """Return functions that encode a picture, by the name of the format; those that nothing here writes are missing."""
    from PIL import Image, features

    with suppress(ImportError):
        import pillow_heif

        pillow_heif.register_heif_opener()
    turned = Image.Exif()
    turned[0x0112] = 6

    def pillow(fmt: str, frames: int = 1, **options: Any) -> Callable[[np.ndarray], bytes]:
        def encode(image: np.ndarray) -> bytes:
            buffer, first = io.BytesIO(), Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
            more = {"save_all": True, "append_images": [Image.fromarray(255 - image)]} if frames > 1 else {}
            first.save(buffer, fmt, **more, **options)
            return buffer.getvalue()

        return encode

    def opencv(suffix: str, dtype: Any = np.uint8) -> Callable[[np.ndarray], bytes]:
        scale = 257 if dtype == np.uint16 else 1
        return lambda image: cv2.imencode(suffix, image.astype(dtype) * dtype(scale))[1].tobytes()

    found = {
        "jpeg": pillow("JPEG", quality=95),
        "jpeg, turned": pillow("JPEG", exif=turned),
        "jpeg, progressive": pillow("JPEG", progressive=True),
        "mpo": pillow("MPO", frames=2),
        "png": pillow("PNG", exif=turned),
        "png, 16 bits": opencv(".png", np.uint16),
        "png, animated": pillow("PNG", frames=2),
        "webp": pillow("WEBP", quality=80, exif=turned),
        "webp, lossless": pillow("WEBP", lossless=True),
        "webp, animated": pillow("WEBP", frames=2, exif=turned),
        "gif": pillow("GIF"),
        "gif, animated": pillow("GIF", frames=2),
        "bmp": pillow("BMP"),
        "tiff": pillow("TIFF"),
        "tiff, lzw": pillow("TIFF", compression="tiff_lzw"),
        "tiff, jpeg": pillow("TIFF", compression="jpeg"),
        "tiff, 16 bits": opencv(".tiff", np.uint16),
        "tiff, big": pillow("TIFF", big_tiff=True),
        "jpeg 2000": pillow("JPEG2000", quality_mode="rates", quality_layers=[20]),
        "jpeg 2000, lossless": pillow("JPEG2000"),
        "ppm": pillow("PPM"),
    }
    if features.check("avif"):
        found["avif"] = pillow("AVIF", speed=10, exif=turned)
    if "HEIF" in Image.SAVE:
        found["heic"] = pillow("HEIF", quality=90)
    return found


class Photos:
    """Damaged photos of 60 x 40 pixels in every format that can be written here."""

    def __init__(self, seed: int, folder: Path):
        self.seed = seed
        warnings.simplefilter("ignore")
        cv2.setNumThreads(1)
        self.photos = {name: encode(picture()) for name, encode in encoders().items()}
        for data in self.photos.values():  # load the decoders before any memory is measured
            read_image(data)
            read_image(data, "pillow")
        self.base = clear_peak()

    def check(self, index: int) -> Outcome:
        """Read one damaged photo."""
        rng = case_rng("photos", self.seed, index)
        name = rng.choice(sorted(self.photos))
        data = damage(self.photos[name], rng)
        clear_peak()
        outcome = Outcome("refused")
        try:
            image = read_image(data, rng.choice(("opencv", "pillow")))
        except ImageReadError as error:
            if "\n" in str(error):
                outcome.fault = f"{name}: a message of several lines: {str(error)!r}"
        except Exception as error:
            outcome.fault = f"{name}: {type(error).__name__}: {error}"
        else:
            outcome.kind = "read"
            if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
                outcome.fault = f"{name}: not a picture: {image.dtype} {image.shape}"
        outcome.megabytes = peak_megabytes() - self.base
        if outcome.megabytes > MAX_MEGABYTES:
            outcome.fault = (
                f"{name}: {len(data)} bytes took {outcome.megabytes:.0f} MB, expected {MAX_MEGABYTES}"
            )
        return outcome


def clear_peak() -> float:
    """Make the peak memory of this process start at what it has now; return that, MB (0 without /proc)."""
    if not _CLEAR.exists():
        return 0.0
    _CLEAR.write_text("5")
    return peak_megabytes()


def peak_megabytes() -> float:
    """Return the peak memory of this process, MB (10**6 bytes; 0 without /proc)."""
    return _own("VmHWM:")


def _own(name: str) -> float:
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return int(text.split(name)[1].split()[0]) * 1024 / 1e6


def print_photo_cost(repeats: int = 100) -> None:
    """Print for each format what reading takes: bytes of memory per pixel at 6 megapixels, and time at 640 x 480.

    ``checks`` is what happens before any decoder gets the file.

    Raises:
        ValueError: This is not Linux.
    """
    if not _CLEAR.exists():
        raise ValueError("the memory of photos is read from /proc: expected Linux")
    from ehrpose.image_io import MAX_FRAMES, MAX_PIXELS, _examine

    cv2.setNumThreads(1)
    big, small = picture(3000, 2000), picture(640, 480)
    print("| format | bytes per pixel | with Pillow first | read, ms | checks, ms |\n|---|---|---|---|---|")
    for name, encode in encoders().items():
        data, little = encode(big), encode(small)
        read_image(little)
        read_image(little, "pillow")
        taken = [_bytes_of_reading(data, decoder) / (3000 * 2000) for decoder in ("opencv", "pillow")]
        reading = _median_ms(partial(read_image, little), min(repeats, 30))
        checks = _median_ms(partial(_examine, little, "", (), MAX_PIXELS, MAX_FRAMES), repeats)
        print(f"| {name} | {taken[0]:.1f} | {taken[1]:.1f} | {reading:.2f} | {checks:.3f} |", flush=True)


def _bytes_of_reading(data: bytes, decoder: str) -> float:
    gc.collect()
    _trim()
    before = _own("VmRSS:")
    clear_peak()
    read_image(data, decoder)
    return (peak_megabytes() - before) * 1e6


def _trim() -> None:
    """Give freed memory back, as it would hide what the next photo takes."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _median_ms(function: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))
