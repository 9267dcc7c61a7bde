from __future__ import annotations

import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from photo_files import UPRIGHT, Image, encode, exif_of, needs_avif, scene, tiff

from ehrpose.image_io import ImageReadError, read_image


def pil_scene(mode: str):
    return Image.fromarray(np.ascontiguousarray(scene()[..., ::-1])).convert(mode)


def sixteen_bit() -> np.ndarray:
    """A ramp over the whole 16-bit range: clipping at 255 would make nearly all of it white."""
    return np.linspace(0, 65535, 40 * 60).reshape(40, 60).astype(np.uint16)


@pytest.mark.parametrize("backend", ["opencv", "pillow"])
@pytest.mark.parametrize(
    ("data", "wanted", "tolerance"),
    [
        pytest.param(encode(scene()), scene(), 0, id="png"),
        pytest.param(encode(scene(), "JPEG", quality=98, subsampling=0), scene(), 12, id="jpeg"),
        pytest.param(encode(scene(), "WEBP", lossless=True), scene(), 0, id="webp"),
        pytest.param(encode(scene(), "BMP"), scene(), 0, id="bmp"),
        pytest.param(encode(pil_scene("L")), cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY)[..., None], 1, id="grey"),
        pytest.param(encode(pil_scene("L"), "JPEG"), cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY)[..., None], 9,
                     id="grey jpeg"),
        pytest.param(encode(pil_scene("RGBA")), scene(), 0, id="rgba"),
        pytest.param(encode(pil_scene("LA")), cv2.cvtColor(scene(), cv2.COLOR_BGR2GRAY)[..., None], 1, id="la"),
        pytest.param(encode(pil_scene("RGB").quantize(8)), scene(), 2, id="palette"),
        pytest.param(encode(pil_scene("RGB").quantize(8), "GIF"), scene(), 2, id="gif"),
        pytest.param(encode(pil_scene("CMYK"), "JPEG", quality=98, subsampling=0), scene(), 12, id="cmyk jpeg"),
        pytest.param(cv2.imencode(".png", sixteen_bit())[1].tobytes(), sixteen_bit()[..., None] / 257, 1,
                     id="16-bit grey"),
        pytest.param(cv2.imencode(".png", np.dstack([sixteen_bit(), sixteen_bit() // 2, sixteen_bit() // 4]))[1]
                     .tobytes(), sixteen_bit()[..., None] / 257 / [1, 2, 4], 1, id="16-bit colour"),
        pytest.param(cv2.imencode(".png", np.array([[[1, 2, 3]]], np.uint8))[1].tobytes(),
                     np.array([[[1, 2, 3]]]), 0, id="1 x 1"),
    ],
)  # fmt: skip
def test_every_kind_of_photo_becomes_three_channels_of_8_bit(data, wanted, tolerance, backend):
    image = read_image(data, backend)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.flags.c_contiguous
    wanted = np.broadcast_to(wanted, (*wanted.shape[:2], 3))
    assert image.shape == wanted.shape
    assert np.abs(image.astype(float) - wanted).max() <= tolerance


def test_transparency_is_dropped_and_keeps_the_colours_below():
    rgba = np.dstack([scene()[..., ::-1], np.zeros((40, 60), np.uint8)])
    np.testing.assert_array_equal(read_image(encode(Image.fromarray(rgba))), scene())


@pytest.mark.parametrize(
    ("dtype", "sample_format", "what"),
    [
        (np.float32, 3, "32-bit floating-point numbers"),
        (np.float64, 3, "64-bit floating-point numbers"),
        (np.int16, 2, "16-bit signed integers"),
        (np.uint32, 1, "32-bit integers"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True], ids=["tiff", "bigtiff"])
def test_tiff_without_a_known_range_says_so(dtype, sample_format, what, channels, order, big):
    data = tiff(np.ones((8, 9, channels), dtype), order=order, big=big, sample_format=sample_format)
    for backend in ("opencv", "pillow"):
        with pytest.raises(ImageReadError, match=f"8-bit or 16-bit unsigned integers, got {what}") as caught:
            read_image(data, backend)
        assert "broken" not in str(caught.value)


def iso_media(brand: bytes, *others: bytes) -> bytes:
    """The start of a HEIC, AVIF or MP4 file, and zeros."""
    brands = brand + bytes(4) + b"".join(others)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + bytes(200)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (iso_media(b"avif", b"mif1"), "a broken AVIF"),
        (iso_media(b"isom", b"mp42"), r"a video or another media file, not an image \(b'isom'\)"),
        (b"RIFF\0\0\0\0AVI LIST" + bytes(99), r"a video or another media file"),
        (b"RIFF\0\0\0\0WEBPVP8 " + bytes(99), r"a broken WebP"),
        (b"\0\0\0\x0cJXL \r\n" + bytes(99), "a JPEG XL photo, which is not supported: convert it"),
        (b"\0\0\0\x0cjP  \r\n" + bytes(99), "a broken JPEG 2000"),
        (b"II*\0" + bytes(3), "a broken TIFF"),
        (b"II*\0\xff\xff\xff\xff" + bytes(3), "a broken TIFF"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, "a broken TIFF"),
    ],
)
def test_what_cannot_be_read_is_named(data, message):
    with pytest.raises(ImageReadError, match=message):
        read_image(data)


def test_heic_without_pillow_heif_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageReadError, match=r"a HEIC photo.*install pillow-heif") as caught:
        read_image(iso_media(b"heic", b"mif1", b"heic"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("backend", ["opencv", "pillow"])
def test_heic_with_pillow_heif_is_read(backend):
    pytest.importorskip("pillow_heif", reason="pillow-heif is in the extra 'heic'").register_heif_opener()
    data = encode(scene(), "HEIF", quality=98)
    image = read_image(data, backend)
    assert image.shape == scene().shape
    assert np.abs(image.astype(int) - scene())[5:-5, 5:-5].mean() < 12
    with pytest.raises(ImageReadError, match="a broken HEIC"):
        read_image(data[: len(data) // 2], backend)
    for orientation, turned in UPRIGHT.items():
        data = encode(scene(), "HEIF", quality=98, exif=exif_of(orientation).tobytes())
        upright = turned(scene())
        image = read_image(data, backend)
        assert image.shape == upright.shape
        assert np.abs(image.astype(int) - upright)[5:-5, 5:-5].mean() < 12


def test_oriented_cmyk_keeps_its_colours():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_image(encode(pil_scene("CMYK"), "JPEG", quality=98, subsampling=0, exif=exif))
    assert np.abs(image.astype(int) - UPRIGHT[6](scene())).max() <= 12


def photo_bytes(fmt: str, **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    return encode(cv2.resize(pixels, (320, 240)), fmt, **options)


@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.9999], ids=lambda kept: f"{kept:.2%} kept")
@pytest.mark.parametrize("options", [{"fmt": "JPEG"}, {"fmt": "JPEG", "progressive": True}, {"fmt": "PNG"},
                                     {"fmt": "WEBP"}, {"fmt": "BMP"}, {"fmt": "GIF"}, {"fmt": "AVIF"},
                                     {"fmt": "TIFF"}, {"fmt": "JPEG2000"}, {"fmt": "PPM"}], ids=str)  # fmt: skip
def test_truncated_photos_are_refused(tmp_path, options, kept):
    needs_avif(options["fmt"].lower())
    data = photo_bytes(**options)
    path = tmp_path / "cut.img"
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(ImageReadError, match=r"cut\.img.*(truncated|broken)"):
        read_image(path)


def test_a_jpeg_padded_with_zeros_after_a_broken_download_is_refused():
    data = photo_bytes("JPEG")
    with pytest.raises(ImageReadError, match="truncated"):
        read_image(data[: len(data) // 2] + bytes(len(data) // 2))


def test_a_thumbnail_inside_does_not_hide_that_the_end_is_missing():
    whole, thumbnail = photo_bytes("JPEG"), encode(scene(), "JPEG")
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = whole[:2] + segment + whole[2:]
    np.testing.assert_array_equal(read_image(with_thumbnail), read_image(whole))
    with pytest.raises(ImageReadError, match="truncated"):
        read_image(with_thumbnail[: len(with_thumbnail) // 2])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "file not found"),
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>not found</html>", r"not an image, it begins with b'<!DOCTYPE"),
        (b"\xff\xd8\xff" + bytes(100), "JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50) + b"IEND", "a broken PNG"),
        (bytes(1000), "not an image"),
    ],
    ids=["missing", "empty", "web page", "jpeg start only", "png start only", "zeros"],
)
def test_bad_files_are_named_with_the_reason(tmp_path, content, reason):
    path = tmp_path / "bad.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageReadError, match=rf"bad\.jpg.*{reason}"):
        read_image(path)


def test_a_folder_is_no_photo(tmp_path):
    with pytest.raises(ImageReadError, match="folder"):
        read_image(tmp_path)


def test_corrupt_middle_of_a_png_is_refused():
    data = bytearray(photo_bytes("PNG"))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(ImageReadError, match="a broken PNG"):
        read_image(bytes(data))


def test_names_with_odd_characters_and_strings_work(tmp_path):
    path = tmp_path / "フォト ü #1.png"
    path.write_bytes(encode(scene()))
    np.testing.assert_array_equal(read_image(str(path)), scene())
    np.testing.assert_array_equal(read_image(path), scene())


def test_unknown_backend_and_source_are_refused():
    with pytest.raises(ValueError, match="turbojpeg"):
        read_image(encode(scene()), "turbojpeg")
    with pytest.raises(TypeError, match="int"):
        read_image(3)


def test_without_pillow_usual_photos_are_read_and_others_say_why():
    code = (
        "import sys; sys.modules['PIL'] = None\n"
        "from ehrpose.image_io import read_image\n"
        "import cv2, numpy as np\n"
        "print(read_image(cv2.imencode('.jpg', np.zeros((4, 5, 3), np.uint8))[1].tobytes()).shape)\n"
        "try: read_image(bytes(4) + b'ftypavif' + bytes(99))\n"
        "except ValueError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    assert result.stdout.startswith("(4, 5, 3)\n")
    assert "Pillow" in result.stdout
