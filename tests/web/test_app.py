from __future__ import annotations

import asyncio
import io
import re
import struct
import sys
import zlib
from functools import partial

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("httpx", reason="httpx is in the extra 'tests'")

from page_server import Gated, Moody, TwoPeople, encoded
from photo_files import CAN_BE_TURNED, tiff
from PIL import Image
from starlette.testclient import TestClient

from ehrpose.image_io import IMAGE_SUFFIXES
from ehrpose.web import uploads
from ehrpose.web.app import create_app
from ehrpose.web.limits import BusyError, Limits
from ehrpose.web.model_pool import MAX_WAITING, ModelPool, pool_of


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return tmp_path_factory.mktemp("photos") / "seen.txt"


@pytest.fixture(scope="module")
def served(record):
    """A page whose processes serve all tests of this file: each takes a second to start."""
    openers = {"two": partial(TwoPeople, str(record)), "other": TwoPeople, "moody": Moody}
    pool = ModelPool(openers, Limits(max_bytes=200_000, max_pixels=1_000_000))
    with TestClient(
        create_app(pool), base_url="http://localhost:8000", raise_server_exceptions=False
    ) as client:
        yield client


@pytest.fixture
def client(served, record):
    record.write_text("")
    return served


@pytest.fixture
def seen(client, record):
    """What the model "two" saw in this test."""
    return lambda: [tuple(map(int, line.split())) for line in record.read_text().splitlines()]


def test_people_of_a_photo(client, seen):
    answer = client.post("/api/predict", content=encoded())
    assert answer.status_code == 200
    found = answer.json()
    assert (found["model"], found["width"], found["height"]) == ("two", 80, 60)
    assert [person["bbox_score"] for person in found["people"]] == [0.8, 0.4]
    np.testing.assert_allclose(found["people"][0]["keypoints"][0], [0.3 * 80, 0.2 * 60], atol=0.01)
    assert found["skeleton"]["names"][0] == "nose"
    assert found["skeleton"]["limbs"] == [[0, 1], [0, 2], [0, 3], [0, 4]]
    assert len(found["skeleton"]["limb_colors"]) == 4
    assert set(found["times_ms"]) == {"read", "find", "total"}
    assert seen() == [(60, 80)]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff"])
@pytest.mark.parametrize("shape", [(60, 80, 3), (60, 80), (60, 80, 4)], ids=["colour", "grey", "alpha"])
def test_kinds_of_photos(client, seen, suffix, shape):
    if suffix in (".jpg", ".bmp") and shape[2:] == (4,):
        shape = (60, 80, 3)
    assert client.post("/api/predict", content=encoded(suffix, shape)).status_code == 200
    assert seen() == [(60, 80)]


def test_photos_of_phones_stand_upright(client):
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    Image.new("RGB", (80, 60)).save(buffer, "JPEG", exif=exif)
    found = client.post("/api/predict", content=buffer.getvalue()).json()
    assert (found["width"], found["height"]) == (60, 80)


def test_turned_photos_of_every_format_stand_upright(client):
    for fmt, write in CAN_BE_TURNED.items():
        if "avif" in fmt and not pytest.importorskip("PIL.features").check("avif"):
            continue
        found = client.post("/api/predict", content=write(6)).json()
        assert (found.get("width"), found.get("height")) == (40, 60), (fmt, found)


def test_the_page_offers_every_kind_of_photo(client):
    (offered,) = re.findall(r'<input[^>]* type="file" accept="([^"]*)"', client.get("/").text)
    assert offered.split(",") == ["image/*", *IMAGE_SUFFIXES]


@pytest.mark.parametrize("path", ["/api/predict", "/api/heatmap"])
def test_a_photo_inside_a_form_is_refused_with_the_way_to_send_it(client, path):
    for answer, kind in (
        (client.post(path, files={"photo": encoded()}), "multipart/form-data"),
        (client.post(path, json={"photo": "..."}), "application/json"),
    ):
        assert answer.status_code == 415
        assert f"the request's body, got {kind}: send the file itself" in answer.json()["error"]
        assert "--data-binary" in answer.json()["error"]
    headers = {"content-type": "application/x-www-form-urlencoded"}  # of curl --data-binary
    assert client.post(path, content=encoded(), headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/api/predict", "/api/heatmap"])
def test_unknown_options_are_refused(client, path):
    answer = client.post(f"{path}?kpt_thr=0.5", content=encoded())
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("unknown parameter 'kpt_thr', expected only 'model'")


def test_a_tiff_of_numbers_without_a_range_says_so(client):
    for channels in (1, 3):
        content = tiff(np.ones((8, 9, channels), np.float32), sample_format=3)
        answer = client.post("/api/predict", content=content)
        assert answer.status_code == 415
        assert "expected a TIFF of 8-bit or 16-bit unsigned integers, got 32-bit" in answer.json()["error"]


def test_heic_without_pillow_heif_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(uploads.UploadError, match=r"a HEIC photo \(install pillow-heif") as refused:
        uploads.decode_photo(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), 1000)
    assert refused.value.status == 415


def huge_png(side=60_000):
    """A PNG of a few bytes whose header declares 3600 megapixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"0"))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"", 400, "the request contains no photo"),
        (
            b"not a photo",
            415,
            "cannot decode this image: not an image, it begins with b'not a photo'; supported",
        ),
        (encoded(".jpg")[:-20], 415, "cannot decode this image: the JPEG is truncated"),
        (huge_png(), 413, "60000 x 60000 px is too large: the limit is 1 megapixels"),
        (encoded(shape=(1100, 1000, 3)), 413, "1000 x 1100 px is too large: the limit is 1 megapixels"),
        (b"\x89PNG" + bytes(300_000), 413, "this photo has 0.3 MB, the limit is 0.2 MB"),
    ],
    ids=["empty", "text", "cut", "huge header", "many pixels", "large file"],
)
def test_what_is_refused_says_why(client, seen, content, status, message):
    answer = client.post("/api/predict", content=content)
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert seen() == []


def test_a_body_of_unknown_length_is_limited_while_it_comes(client):
    drawn = []

    def endless():
        for _ in range(1000):
            drawn.append(1)
            yield bytes(50_000)

    answer = client.post("/api/predict", content=endless())
    assert answer.status_code == 413
    assert "the limit is 0.2 MB" in answer.json()["error"]


def test_models_by_name(client):
    listing = client.get("/api/models").json()
    assert [model["name"] for model in listing["models"]] == ["two", "other", "moody"]
    assert listing["limits"] == {"max_bytes": 200_000, "max_pixels": 1_000_000}
    assert client.post("/api/predict?model=other", content=encoded()).json()["model"] == "other"
    answer = client.post("/api/predict?model=third", content=encoded())
    assert (answer.status_code, answer.json()["error"]) == (
        404,
        "model 'third' not found; available: two, other, moody",
    )


def test_heatmap_is_a_picture_of_the_photos_part(client):
    answer = client.post("/api/heatmap", content=encoded())
    assert answer.headers["content-type"] == "image/png"
    heat = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert heat.shape == (12, 16, 4)
    assert heat[5, 5, 3] > 200
    assert heat[11, 15, 3] == 0


def test_a_fault_shows_no_traceback_to_the_sender_but_in_the_log(client, caplog):
    answer = client.post("/api/predict?model=moody", content=encoded(shape=(10, 13, 3)))
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "RuntimeError: secret of the machine" in caplog.text
    assert client.post("/api/predict?model=moody", content=encoded()).status_code == 200


def test_page_and_its_files_are_served_and_name_no_other_host(client):
    page = client.get("/")
    assert page.status_code == 200
    assert "script-src 'self';" in page.headers["content-security-policy"]
    for name in ("app.js", "draw.js", "style.css", "icon.svg"):
        text = client.get(f"/static/{name}").text
        assert "//cdn" not in text
        assert "https://" not in text
    assert client.get("/static/../app.py").status_code == 404
    assert client.get("/api/health").json()["status"] == "ok"


def test_one_photo_at_a_time_and_a_bounded_queue(tmp_path):
    gate, record = tmp_path / "gate", tmp_path / "seen"
    pool, refused, answered = ModelPool({"two": partial(Gated, str(gate), str(record))}), [], []

    async def ask():
        try:
            with pool.place("two"):
                answered.append(await pool.run("two", "predict", encoded()))
        except BusyError as error:
            refused.append(str(error))

    async def ask_all():
        tasks = [asyncio.create_task(ask()) for _ in range(MAX_WAITING + 4)]
        while not record.exists():
            await asyncio.sleep(0.01)
        assert len(refused) == 3
        assert len(record.read_text().splitlines()) == 1  # the others wait while it waits
        gate.touch()
        await asyncio.gather(*tasks)

    try:
        asyncio.run(ask_all())
    finally:
        pool.close()
    assert "try again in a moment" in refused[0]
    assert len(answered) == len(record.read_text().splitlines()) == MAX_WAITING + 1


def test_busy_is_503_and_says_when_to_ask_again(client, monkeypatch):
    async def busy(*args):
        raise BusyError("many wait", 7)

    monkeypatch.setattr(ModelPool, "run", busy)
    answer = client.post("/api/predict", content=encoded())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")


def test_models_of_the_command_line(monkeypatch):
    opened = []
    monkeypatch.setattr(
        "ehrpose.inferencers.predictors.open_predictor",
        lambda *args, **kw: opened.append(args) or TwoPeople(),
    )
    pool = pool_of(["a/end2end.onnx", "mine=configs/x.py:weights.pth"])
    assert pool.names == ["end2end.onnx", "mine"]
    assert opened == []  # opened on first use
    for entry in pool._entries.values():
        entry.open()
    assert [files[:2] for files in opened] == [("a/end2end.onnx", None), ("configs/x.py", "weights.pth")]
    with pytest.raises(ValueError, match=r"two models are named 'end2end.onnx'"):
        pool_of(["a/end2end.onnx", "b/end2end.onnx"])
    with pytest.raises(ValueError, match="a config without weights"):
        pool_of(["configs/x.py"])
    monkeypatch.setattr("ehrpose.web.model_pool.list_models", list)
    with pytest.raises(ValueError, match="no model to serve"):
        pool_of([])
