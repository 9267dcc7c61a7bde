"""Photos of any format, size, orientation and depth are read right; damaged ones give one form of error."""

from __future__ import annotations

import re
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_files import UPRIGHT, Image, encode, exif_of, needs_avif, tiff

from ehrpose.image_io import BACKENDS, ImageReadError, read_image

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True)


def rgb_or_grey(values):
    """Return (H, W, C) RGB or grey values as the (H, W, 3) uint8 BGR that they are read as."""
    values = values >> 8 if values.dtype == np.uint16 else values
    return (
        np.repeat(values, 4 - values.shape[2], axis=2)[..., ::-1]
        if values.shape[2] == 1
        else values[..., ::-1]
    )


def by_pillow(fmt, exif=True, **options):
    def write(values, orientation):
        image = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
        return encode(image, fmt, **({"exif": exif_of(orientation)} if exif else {}), **options)

    return write


def png_16(values, orientation):
    """A PNG by OpenCV, with the orientation after its header."""
    data = cv2.imencode(".png", np.ascontiguousarray(values[..., ::-1]))[1].tobytes()
    exif = b"eXIf" + exif_of(orientation).tobytes()[6:]
    chunk = (len(exif) - 4).to_bytes(4, "big") + exif + zlib.crc32(exif).to_bytes(4, "big")
    return data[:33] + chunk + data[33:]


def ppm(values, orientation):
    height, width, channels = values.shape
    most = np.iinfo(values.dtype).max
    data = values.astype(values.dtype.newbyteorder(">")).tobytes()
    return f"P{6 if channels == 3 else 5} {width} {height} {most}\n".encode() + data


# What writes values without loss: their depths in bits, numbers of channels, and whether it holds an orientation.
LOSSLESS = {
    "png": (by_pillow("PNG"), (8,), (1, 3), True),
    "16-bit png": (png_16, (16,), (1, 3), True),
    "webp": (by_pillow("WEBP", lossless=True), (8,), (3,), True),
    "tiff": (by_pillow("TIFF"), (8,), (1, 3), True),
    "tiff, lzw": (by_pillow("TIFF", compression="tiff_lzw"), (8,), (1, 3), True),
    "plain tiff": (lambda values, turn: tiff(values, turn), (8, 16), (1, 3), True),
    "big-endian tiff": (lambda values, turn: tiff(values, turn, ">"), (8, 16), (1, 3), True),
    "bigtiff": (lambda values, turn: tiff(values, turn, "<", True), (8, 16), (1, 3), True),
    "bmp": (by_pillow("BMP", exif=False), (8,), (1, 3), False),
    "gif": (by_pillow("GIF", exif=False), (8,), (1,), False),
    "jpeg 2000": (by_pillow("JPEG2000", exif=False), (8,), (1, 3), False),
    "ppm": (ppm, (8, 16), (1, 3), False),
}
LOSSY = {
    "JPEG": {"quality": 98, "subsampling": 0},
    "MPO": {"quality": 98, "subsampling": 0},
    "AVIF": {"quality": 95},
}


@pytest.mark.parametrize("backend", BACKENDS)
@SETTINGS
@given(data=st.data())
def test_every_pixel_is_read_where_it_belongs(backend, data):
    write, depths, channels, turns = LOSSLESS[data.draw(st.sampled_from(list(LOSSLESS)), "format")]
    shape = (
        *data.draw(st.tuples(st.integers(1, 33), st.integers(1, 33))),
        data.draw(st.sampled_from(channels)),
    )
    bits, orientation = data.draw(st.sampled_from(depths)), data.draw(st.sampled_from(list(UPRIGHT)))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    values = rng.integers(0, 2**bits, shape, np.uint16 if bits == 16 else np.uint8)
    file = write(values, orientation)
    stored = rgb_or_grey(values)
    upright = UPRIGHT[orientation](stored) if turns else stored
    for image, wanted in ((read_image(file, backend), upright), (read_image(file, backend, False), stored)):
        assert image.shape == wanted.shape
        assert (image.dtype, image.flags.c_contiguous) == (np.uint8, True)
        assert np.abs(image.astype(int) - wanted).max() <= (1 if bits == 16 else 0)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("fmt", LOSSY)
@settings(SETTINGS, max_examples=25)
@given(
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    orientation=st.sampled_from(list(UPRIGHT)),
    color=st.tuples(*[st.integers(0, 255)] * 3),
)
def test_lossy_formats_keep_size_and_colour(fmt, backend, size, orientation, color):
    needs_avif(fmt.lower())
    file = encode(Image.new("RGB", size, color), fmt, exif=exif_of(orientation), **LOSSY[fmt])
    image = read_image(file, backend)
    assert image.shape[1::-1] == (size[::-1] if orientation > 4 else size)
    assert np.abs(image.astype(int) - color[::-1]).max() <= 8


NOISE = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
WHOLE = ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "JPEG2000", "PPM", "AVIF"]
MAGIC = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"P6 ",
         b"RIFF\0\0\0\0WEBP", b"\0\0\0\x0cjP  \r\n", b"\0\0\0\x18ftypavif", b"\0\0\0\x18ftypheic",
         b"\xff\x4f\xff\x51"]  # fmt: skip


def check_read(data, backend):
    """The pixels, or one error of one form."""
    try:
        image = read_image(data, backend)
    except ImageReadError as error:
        message = str(error)
        assert message.startswith("cannot read photo given as bytes: ")
        assert message.splitlines() == [message]
        assert not re.search(r"0x[0-9a-f]{6}|Traceback", message)
    else:
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3


@pytest.mark.parametrize("backend", BACKENDS)
@SETTINGS
@given(
    fmt=st.sampled_from(WHOLE),
    at=st.floats(0.5, 1),
    junk=st.binary(max_size=8),
    what=st.sampled_from(["replaced", "inserted", "cut", "removed"]),
)
def test_damaged_photos_give_pixels_or_one_error(backend, fmt, at, junk, what):
    needs_avif(fmt.lower())
    whole = encode(NOISE, fmt)
    # The second half: a size in the header that is damaged would only fill the memory.
    place = int(at * len(whole))
    rest = {"replaced": junk + whole[place + len(junk) :], "inserted": junk + whole[place:], "cut": b"",
            "removed": whole[place + len(junk) :]}  # fmt: skip
    check_read(whole[:place] + rest[what], backend)


@pytest.mark.parametrize("backend", BACKENDS)
@SETTINGS
@given(start=st.sampled_from(MAGIC), rest=st.binary(max_size=12))
def test_what_only_begins_like_a_photo_gives_one_error(backend, start, rest):
    check_read(start + rest, backend)
