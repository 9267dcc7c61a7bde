"""Encoded photos of every format that Pillow or OpenCV writes, with orientations."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="Pillow makes the test files")

BLUE_ISH, GREEN_ISH = (200, 60, 20), (90, 210, 30)  # BGR


def scene() -> np.ndarray:
    """40 x 60 BGR, black, with two different corners, so that all rotations differ."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[:20, :30] = BLUE_ISH
    image[:20, 30:] = GREEN_ISH
    return image


def encode(image, fmt="PNG", **options) -> bytes:
    if isinstance(image, np.ndarray):
        image = Image.fromarray(np.ascontiguousarray(image[..., ::-1]))
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def needs_avif(fmt: str) -> None:
    if "avif" in fmt and not pytest.importorskip("PIL.features").check("avif"):
        pytest.skip("this Pillow does not read AVIF")


UPRIGHT = {  # EXIF orientation: what makes the stored pixels upright
    1: lambda im: im,
    2: lambda im: im[:, ::-1],
    3: lambda im: im[::-1, ::-1],
    4: lambda im: im[::-1],
    5: lambda im: im.transpose(1, 0, 2),
    6: lambda im: np.rot90(im, -1),
    7: lambda im: im[::-1, ::-1].transpose(1, 0, 2),
    8: lambda im: np.rot90(im, 1),
}


def exif_of(orientation: int):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


_BEST = {fmt: {"quality": 98} for fmt in ("JPEG", "MPO", "AVIF")}


def by_pillow(fmt: str, **options):
    return lambda orientation: encode(
        scene(), fmt, exif=exif_of(orientation), **{**_BEST.get(fmt, {}), **options}
    )


def by_opencv(suffix: str):
    def write(orientation: int) -> bytes:
        if not hasattr(cv2, "imencodeWithMetadata"):
            pytest.skip("this OpenCV cannot write EXIF")
        exif = np.frombuffer(exif_of(orientation).tobytes()[6:], np.uint8)
        return cv2.imencodeWithMetadata(suffix, scene(), [cv2.IMAGE_METADATA_EXIF], [exif])[1].tobytes()

    return write


def tiff(
    pixels: np.ndarray, orientation: int = 1, order: str = "<", big: bool = False, sample_format: int = 1
):
    """An uncompressed TIFF, or BigTIFF, of (H, W, C) pixels, RGB or grey."""
    height, width, channels = pixels.shape
    data = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    head = 16 if big else 8
    bits = struct.pack(order + f"{channels}H", *[8 * pixels.itemsize] * channels).ljust(8, b"\0")
    start = head + len(data)
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, start), (259, 3, 1, 1),
            (262, 3, 1, 2 if channels == 3 else 1), (273, 4, 1, head), (274, 3, 1, orientation), (277, 3, 1, channels),
            (278, 4, 1, height), (279, 4, 1, len(data)), (339, 3, 1, sample_format)]  # fmt: skip
    room, long = (8, "Q") if big else (4, "I")
    directory = struct.pack(order + ("Q" if big else "H"), len(tags))
    for tag, kind, count, value in tags:
        directory += struct.pack(order + "HH" + long, tag, kind, count)
        if tag == 258:
            inline = bits[: 2 * channels].ljust(room, b"\0")
            directory += inline if 2 * channels <= room else struct.pack(order + long, value)
        else:
            directory += struct.pack(order + ("H" if kind == 3 else "I"), value).ljust(room, b"\0")
    directory += struct.pack(order + long, 0)
    mark = b"II" if order == "<" else b"MM"
    first = start + 8
    header = struct.pack(order + "HHHQ", 43, 8, 0, first) if big else struct.pack(order + "HI", 42, first)
    return mark + header + data + bits + directory


def own_tiff(dtype, order="<", big=False):
    pixels = np.ascontiguousarray(scene()[..., ::-1]).astype(dtype) * (257 if dtype == np.uint16 else 1)
    return lambda orientation: tiff(pixels, orientation, order, big)


def png_with_late_exif(orientation: int) -> bytes:
    """EXIF after the pixels, as the format allows."""
    data = encode(scene(), exif=exif_of(orientation))
    at = data.index(b"eXIf") - 4
    chunk = data[at : at + int.from_bytes(data[at : at + 4], "big") + 12]
    rest = data.replace(chunk, b"")
    end = rest.index(b"IEND") - 4
    return rest[:end] + chunk + rest[end:]


inverted = Image.fromarray(255 - scene())
CAN_BE_TURNED = {
    "jpeg": by_pillow("JPEG"),
    "jpeg by opencv": by_opencv(".jpg"),
    "mpo": by_pillow("MPO", save_all=True, append_images=[inverted]),
    "png": by_pillow("PNG"),
    "png by opencv": by_opencv(".png"),
    "png, exif at its end": png_with_late_exif,
    "animated png": by_pillow("PNG", save_all=True, append_images=[inverted]),
    "webp": by_pillow("WEBP", lossless=True),
    "webp by opencv": by_opencv(".webp"),
    "animated webp": by_pillow("WEBP", lossless=True, save_all=True, append_images=[inverted]),
    "avif": by_pillow("AVIF"),
    "avif by opencv": by_opencv(".avif"),
    "tiff": by_pillow("TIFF"),
    "tiff, lzw": by_pillow("TIFF", compression="tiff_lzw"),
    "tiff, jpeg": by_pillow("TIFF", compression="jpeg"),
    "tiff, 16 bits": own_tiff(np.uint16),
    "tiff, big-endian": own_tiff(np.uint8, ">"),
    "tiff, 16 bits, big-endian": own_tiff(np.uint16, ">"),
    "bigtiff": own_tiff(np.uint8, big=True),
    "bigtiff, 16 bits, big-endian": own_tiff(np.uint16, ">", big=True),
}
# These formats have no place for an orientation.
CANNOT_BE_TURNED = {
    "gif": by_pillow("GIF"),
    "bmp": by_pillow("BMP"),
    "jpeg 2000": by_pillow("JPEG2000"),
    "ppm": by_pillow("PPM"),
}
