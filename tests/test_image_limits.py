"""Photos are refused by their first bytes and their header, before a decoder sees them."""

from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from photo_files import Image, encode, needs_avif, scene, tiff

from ehrpose import image_io
from ehrpose.image_formats import OTHER_FORMATS, PILLOW_NAMES, kind_of
from ehrpose.image_headers import read_header
from ehrpose.image_io import IMAGE_SUFFIXES, ImageReadError, ImageSizeError, read_image

FORMATS = {
    "JPEG": {}, "PNG": {}, "GIF": {}, "BMP": {}, "PPM": {}, "TIFF": {}, "JPEG2000": {}, "WEBP": {}, "AVIF": {},
    "HEIF": {},
}  # fmt: skip


def photo(fmt, **options):
    needs_avif(fmt.lower())
    if fmt == "HEIF":
        pytest.importorskip("pillow_heif", reason="pillow-heif is in the extra 'heic'").register_heif_opener()
    return encode(scene(), fmt, **options)


@pytest.fixture
def no_decoder(monkeypatch):
    """Fail if a decoder is reached."""

    def reached(*_, **__):
        pytest.fail("a decoder saw it")

    monkeypatch.setattr(cv2, "imdecode", reached)
    monkeypatch.setattr(image_io, "open_with_pillow", reached)


def chunk(name, content, length=None):
    return struct.pack(">I", len(content) if length is None else length) + name + content + bytes(4)


def png(width, height, *chunks, depth=8, colour=2):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def stated(fmt, width, height):
    """A small photo of a format whose header states another size."""
    data = photo(fmt)
    if fmt == "JPEG":
        at = data.index(b"\xff\xc0") + 5
        return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]
    if fmt == "PNG":
        return data[:16] + struct.pack(">II", width, height) + data[24:]
    if fmt == "GIF":
        at = data.index(b",\0\0\0\0") + 5
        return data[:at] + struct.pack("<HH", width, height) + data[at + 4 :]
    if fmt == "BMP":
        return data[:18] + struct.pack("<ii", width, -height) + data[26:]
    if fmt == "PPM":
        return data.replace(b"60 40", f"{width} # wide\n{height}".encode())
    if fmt == "TIFF":
        tags = ((256, width), (257, height))
        for tag, value in tags:
            at = data.index(struct.pack("<HH", tag, 4)) + 8
            data = data[:at] + struct.pack("<I", value) + data[at + 4 :]
        return data
    if fmt == "JPEG2000":
        at = data.index(b"\xff\x4f\xff\x51") + 8
        size = struct.pack(">II", width, height)
        return data[:at] + size + data[at + 8 : at + 16] + size + data[at + 24 :]  # in one tile
    if fmt == "WEBP":
        first = b"VP8X" + struct.pack("<I", 10) + bytes(4)
        first += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        return b"RIFF" + struct.pack("<I", len(data) + 10) + b"WEBP" + first + data[12:]
    at = data.index(b"ispe") + 8
    return data[:at] + struct.pack(">II", width, height) + data[at + 8 :]


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_header_of_too_many_pixels_is_refused_before_a_decoder_sees_it(fmt, no_decoder):
    with pytest.raises(ImageSizeError, match=r"30000 x 20000 px is too large: the limit is 200 megapixels"):
        read_image(stated(fmt, 30_000, 20_000))
    with pytest.raises(
        ImageSizeError, match=r"6[04] x (40|64) px is too large: the limit is 0\.0023 mega.*max_pixels"
    ):
        read_image(photo(fmt), max_pixels=2300)


@pytest.mark.parametrize("fmt", FORMATS)
def test_the_header_states_what_the_decoder_returns(fmt):
    data = photo(fmt)
    header = read_header(data, kind_of(data))
    assert (header.width, header.height) == (
        (64, 64) if fmt == "HEIF" else (60, 40)
    )  # HEVC pads its pictures
    assert header.min_bytes <= header.stored
    assert read_image(data, max_pixels=header.width * header.height).shape == (40, 60, 3)


@pytest.mark.parametrize("fmt", FORMATS)
def test_a_size_that_the_file_cannot_contain_is_refused(fmt, no_decoder):
    with pytest.raises(
        ImageReadError, match=r"9000 x 9000 px need at least \d+ bytes, \d+ are there"
    ) as caught:
        read_image(stated(fmt, 9000, 9000))
    assert not isinstance(caught.value, ImageSizeError)


def test_compressed_kinds_of_other_formats_have_a_least_size_too(no_decoder):
    fax = stated("TIFF", 9000, 9000).replace(
        struct.pack("<HHIH", 259, 3, 1, 1), struct.pack("<HHIH", 259, 3, 1, 4)
    )
    bmp = stated("BMP", 9000, 9000)
    runs = bmp[:30] + struct.pack("<I", 1) + bmp[34:]
    for data in (fax, runs):
        with pytest.raises(ImageReadError, match=r"9000 x 9000 px need at least 19775 bytes, \d+ are there"):
            read_image(data)


@pytest.mark.parametrize("name", [b"IDAT", b"iCCP", b"zTXt", b"eXIf", b"tEXt", b"fdAT", b"PLTE"])
def test_a_png_whose_chunk_states_more_than_the_file_has_is_refused(name, no_decoder):
    data = png(60, 40, chunk(name, b"few bytes", 2**31 - 20))
    with pytest.raises(
        ImageReadError, match=r"a broken PNG \(a chunk of 2147483628 bytes is stated where \d+ are"
    ):
        read_image(data)


def test_lengths_that_lead_out_of_other_files_are_refused(no_decoder):
    webp, avif = photo("WEBP"), photo("AVIF")
    at = avif.index(b"mdat") - 4
    for data, reason in (
        (webp[:4] + struct.pack("<I", 2**31) + webp[8:], "a broken WebP"),
        (avif[:at] + struct.pack(">I", 2**31) + avif[at + 4 :], "a box of 2147483648 bytes"),
        (tiny_tiles(photo("JPEG2000")), r"states \d+ tiles in \d+ bytes"),
    ):
        with pytest.raises(ImageReadError, match=reason):
            read_image(data)


def test_a_gif_without_a_picture_is_refused(no_decoder):
    with pytest.raises(ImageReadError, match=r"a broken GIF \(it has no picture\)"):
        read_image(b"GIF89a" + struct.pack("<HH", 60, 40) + bytes(3) + b";")


def test_an_empty_photo_that_is_not_large_is_read():
    data = encode(np.zeros((4000, 4000, 3), np.uint8), "WEBP", lossless=True, method=0)
    assert len(data) < 4000 * 4000 // 4096 < 10**5
    assert read_image(data).shape == (4000, 4000, 3)


def tiny_tiles(data):
    at = data.index(b"\xff\x4f\xff\x51") + 24
    return data[:at] + struct.pack(">II", 1, 1) + data[at + 8 :]


def many_frames(fmt):
    frames = [Image.fromarray(np.full((4, 5, 3), 40 * i, np.uint8)) for i in range(1, 4)]
    return encode(scene()[:4, :5], fmt, save_all=True, append_images=frames)


@pytest.mark.parametrize("fmt", ["PNG", "GIF", "WEBP", "TIFF", "AVIF"])
def test_frames_are_counted_and_limited(fmt, monkeypatch):
    needs_avif(fmt.lower())
    data = many_frames(fmt)
    assert read_image(data, max_frames=4).shape == (4, 5, 3)
    monkeypatch.setattr(cv2, "imdecode", None)
    monkeypatch.setattr(image_io, "open_with_pillow", None)
    with pytest.raises(ImageSizeError, match=r"its 4 frames are too many: max_frames is 3"):
        read_image(data, max_frames=3)


def test_bytes_and_channels_are_limited(tmp_path, no_decoder):
    path = tmp_path / "a.png"
    path.write_bytes(photo("PNG"))
    with pytest.raises(
        ImageSizeError, match=r"a\.png: 0\.0 MB are too many: the limit is 5e-05 MB \(max_bytes"
    ):
        read_image(path, max_bytes=50)
    with pytest.raises(ImageSizeError, match="the limit is 5e-05 MB"):
        read_image(path.read_bytes(), max_bytes=50)
    samples, three = tiff(np.ones((8, 9, 3), np.uint8)), struct.pack("<HHIH", 277, 3, 1, 3)
    with pytest.raises(ImageSizeError, match="expected at most 8 channels, got 9"):
        read_image(samples.replace(three, three[:-2] + b"\x09\0", 1))


@pytest.mark.parametrize(
    "fmt", ["EPS", "PDF", "TGA", "PCX", "ICO", "SGI", "DDS", "IM", "XBM", "SPIDER", "MSP"]
)
def test_formats_that_the_docs_do_not_name_are_refused(fmt, no_decoder):
    image = Image.fromarray(scene())
    image = image.convert({"XBM": "1", "MSP": "1", "SPIDER": "F"}.get(fmt, "RGB"))
    with pytest.raises(ImageReadError, match="supported formats: JPEG, PNG, WebP"):
        read_image(encode(image, fmt))


@pytest.mark.parametrize("suffix", [".hdr", ".pfm", ".ras", ".pam"])
def test_formats_that_only_opencv_knows_are_refused(suffix, no_decoder):
    pixels = scene().astype(np.float32) if suffix in (".hdr", ".pfm") else scene()
    with pytest.raises(ImageReadError, match="supported formats"):
        read_image(cv2.imencode(suffix, pixels)[1].tobytes())


@pytest.mark.parametrize("fmt", ["TGA", "PCX", "ICO", "SGI", "DDS"])
def test_a_switch_opens_other_formats(fmt):
    data = encode(scene(), fmt, **({"sizes": [(60, 40)]} if fmt == "ICO" else {}))
    np.testing.assert_array_equal(read_image(data, other_formats=[fmt]), scene())
    assert read_image(data, other_formats=fmt).shape == (40, 60, 3)
    with pytest.raises(ImageSizeError, match=r"60 x 40 px is too large.*max_pixels"):
        read_image(data, other_formats=[fmt], max_pixels=2300)
    with pytest.raises(ImageReadError):  # the switch opens one format, not all
        read_image(data, other_formats=[name for name in OTHER_FORMATS if name not in (fmt, "TGA")][:1])
    assert read_image(photo("PNG"), other_formats=[fmt]).shape == (40, 60, 3)


@pytest.mark.parametrize("suffix", [".eps", ".png", ".jpg"])
def test_no_other_program_is_started(tmp_path, monkeypatch, suffix):
    """The marker is what Ghostscript would do if Pillow started it, which has a stand-in here."""
    from PIL import EpsImagePlugin

    marker, tool = tmp_path / "marker", tmp_path / "gs"
    tool.write_text(f"#!/bin/sh\ntouch {marker}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # look for it again
    path = tmp_path / f"drawing{suffix}"
    path.write_bytes(encode(scene(), "EPS"))
    for backend in ("opencv", "pillow"):
        with pytest.raises(ImageReadError, match="a PostScript or PDF document, which is never opened"):
            read_image(path, backend)
    with pytest.raises(ValueError, match=r"other_formats: expected names among DDS, .*, got 'EPS'"):
        read_image(path, other_formats=["EPS"])
    with pytest.raises(ImageReadError):
        read_image(path, other_formats=OTHER_FORMATS)
    assert not marker.exists()


def test_pillow_gets_the_one_format_that_the_first_bytes_state(monkeypatch):
    asked, plain = [], Image.open
    monkeypatch.setattr(Image, "open", lambda *a, **k: asked.append(k["formats"]) or plain(*a, **k))
    read_image(photo("PNG"), "pillow")
    read_image(photo("GIF"), "pillow")
    assert asked == [["PNG"], ["GIF"]]
    assert not {"EPS", "WMF", "GRIB", "PDF"} & {name for names in PILLOW_NAMES.values() for name in names}


def test_a_file_of_many_tiny_parts_ends_soon():
    chunks = chunk(b"tEXt", b"") * 50_000
    with pytest.raises(ImageReadError, match=r"has more than \d+ parts in \d+ bytes"):
        read_image(png(60, 40, chunks, chunk(b"IDAT", zlib.compress(bytes(40 * 181)))))


def test_every_suffix_of_a_photo_has_its_format():
    kinds = {
        ".mpo": "MPO", ".apng": "PNG", ".jpx": "JPEG2000", ".j2k": "JPEG2000", ".jfif": "JPEG", ".hif": "HEIF",
    }  # fmt: skip
    Image.init()
    registered = {**Image.registered_extensions(), **kinds, ".heic": "HEIF", ".heif": "HEIF", ".avif": "AVIF"}
    known = {name for names in PILLOW_NAMES.values() for name in names} | {"DIB"}
    assert {registered[suffix] for suffix in IMAGE_SUFFIXES} <= known
