"""Photos of every format are read upright, or as stored."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from photo_files import (
    CAN_BE_TURNED,
    CANNOT_BE_TURNED,
    UPRIGHT,
    Image,
    by_pillow,
    encode,
    exif_of,
    needs_avif,
    scene,
)

from ehrpose.__main__ import main
from ehrpose.image_io import ImageReadError, read_image


@pytest.mark.parametrize("backend", ["opencv", "pillow"])
@pytest.mark.parametrize("orientation", list(UPRIGHT))
@pytest.mark.parametrize("fmt", [*CAN_BE_TURNED, *CANNOT_BE_TURNED])
def test_orientation_of_every_format_is_applied(fmt, orientation, backend):
    needs_avif(fmt)
    data = {**CAN_BE_TURNED, **CANNOT_BE_TURNED}[fmt](orientation)
    stored = scene()
    upright = UPRIGHT[orientation](stored) if fmt in CAN_BE_TURNED else stored
    for image, wanted in (
        (read_image(data, backend), upright),
        (read_image(data, backend, apply_exif=False), stored),
    ):
        assert image.shape == wanted.shape
        assert np.abs(image.astype(int) - wanted)[5:-5, 5:-5].mean() < 12
        assert image.flags.c_contiguous


XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def png_text(key: str, text: str) -> bytes:
    info = pytest.importorskip("PIL.PngImagePlugin").PngInfo()
    info.add_itxt(key, text) if key.startswith("XML") else info.add_text(key, text)
    return encode(scene(), pnginfo=info)


def test_orientations_that_browsers_ignore_are_ignored_by_both_decoders():
    raw = exif_of(6).tobytes()
    other = Image.Exif()
    other[0x010F] = "a camera"
    files = [
        encode(scene(), "JPEG", quality=98, xmp=XMP.encode()),
        encode(scene(), "JPEG", quality=98, xmp=XMP.encode(), exif=other),
        encode(scene(), "WEBP", lossless=True, xmp=XMP.encode(), exif=other),
        encode(scene(), "TIFF", tiffinfo={700: XMP.encode()}),
        png_text("XML:com.adobe.xmp", XMP),
        png_text("Raw profile type exif", f"\nexif\n{len(raw):8d}\n{raw.hex()}\n"),
    ]
    for data in files:
        for backend in ("opencv", "pillow"):
            image = read_image(data, backend)
            assert image.shape == scene().shape, (data[:20], backend)
            assert np.abs(image.astype(int) - scene())[5:-5, 5:-5].mean() < 12


def test_a_turned_avif_is_refused_where_only_opencv_can_read_it(monkeypatch):
    needs_avif("avif")
    turned, plain = by_pillow("AVIF")(6), by_pillow("AVIF")(1)
    if not cv2.haveImageReader("x.avif") and cv2.imdecode(np.frombuffer(plain, np.uint8), 1) is None:
        pytest.skip("this OpenCV does not read AVIF")

    def too_old(data):
        raise ValueError("cannot identify image file")

    monkeypatch.setattr("ehrpose.image_io.open_with_pillow", too_old)
    assert read_image(plain).shape == (40, 60, 3)
    assert read_image(turned, apply_exif=False).shape == (40, 60, 3)
    with pytest.raises(ImageReadError, match=r"this AVIF is turned: install Pillow 11\.3 or newer"):
        read_image(turned)


def test_the_command_draws_turned_photos_upright(tmp_path, root):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    with_avif = pytest.importorskip("PIL.features").check("avif")
    names = {"jpeg": ".jpg", "mpo": ".jpg", "animated png": ".png", "webp": ".webp", "tiff, lzw": ".tif",
             **({"avif": ".avif"} if with_avif else {})}  # fmt: skip
    for fmt, suffix in names.items():
        (photos / f"{fmt}{suffix}").write_bytes(CAN_BE_TURNED[fmt](6))
    network = str(root / "tests/data/tiny_network.onnx")
    main(["predict", str(photos), "--model", network, "--kpt-thr", "9", "--out-dir", str(out)])
    pictures = {path.stem: cv2.imread(str(path)) for path in out.glob("*.jpg")}
    assert pictures.keys() == names.keys()
    upright = UPRIGHT[6](scene())
    for fmt, picture in pictures.items():
        assert picture.shape == upright.shape, fmt
        assert np.abs(picture.astype(int) - upright)[5:-5, 5:-5].mean() < 12, fmt
