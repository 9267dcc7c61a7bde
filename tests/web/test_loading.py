"""While a model loads the page is there, and says so; photos wait. And the example that the page offers."""

from __future__ import annotations

import logging
import time
from functools import partial

import cv2
import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("httpx", reason="httpx is in the extra 'tests'")

from page_server import TwoPeople, encoded, unusable
from starlette.testclient import TestClient

from ehrpose.version import __version__
from ehrpose.web.app import STATIC, create_app
from ehrpose.web.limits import Limits
from ehrpose.web.model_pool import ModelPool


def slow_to_load(gate, started):
    """Open a model once the file ``gate`` exists; the file ``started`` says that it is being opened."""
    started.touch()
    while not gate.exists():
        time.sleep(0.01)
    return TwoPeople()


@pytest.fixture
def gate(tmp_path):
    return tmp_path / "gate"


@pytest.fixture
def started(tmp_path):
    return tmp_path / "started"


def client_of(openers, **limits):
    pool = ModelPool(openers, Limits(**limits))
    app = create_app(pool, preload=True)
    return TestClient(app, base_url="http://localhost:8000", raise_server_exceptions=False), pool


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_pages_are_there_while_the_model_loads_and_photos_wait(gate, started):
    client, _ = client_of({"slow": partial(slow_to_load, gate, started), "other": TwoPeople}, wait_s=0.3)
    with client:
        assert client.get("/").status_code == 200
        wait_for(started.exists)
        answer = client.get("/api/health")
        assert answer.status_code == 200
        assert answer.json() == {"status": "loading", "version": __version__, "loading": ["slow"]}
        assert [model["state"] for model in client.get("/api/models").json()["models"]] == [
            "loading",
            "closed",
        ]
        busy = client.post("/api/predict", content=encoded())
        assert busy.status_code == 503
        assert busy.headers["Retry-After"] == "5"
        assert busy.json() == {"error": "slow is still loading after 0.3 s: try again"}
        gate.touch()
        wait_for(lambda: client.get("/api/health").json() == {"status": "ok", "version": __version__})
        assert client.get("/api/models").json()["models"][0] == {
            "name": "slow",
            "open": True,
            "state": "open",
        }
        assert client.post("/api/predict", content=encoded()).status_code == 200


def test_a_photo_that_comes_while_the_model_loads_is_answered(gate, started):
    client, _ = client_of({"slow": partial(slow_to_load, gate, started)})
    with client:
        wait_for(started.exists)
        gate.touch()
        assert client.post("/api/predict", content=encoded()).json()["model"] == "slow"


def test_the_server_ends_at_once_while_a_model_loads(gate, started):
    client, pool = client_of({"slow": partial(slow_to_load, gate, started)})
    with client:
        wait_for(started.exists)
        process = pool._entries["slow"].opening._process
        begin = time.monotonic()
    assert time.monotonic() - begin < 60  # opening may take 180 s
    assert not process.is_alive()
    assert pool.loading == []


def test_a_model_that_cannot_be_loaded_is_in_the_log_and_the_page_still_there(caplog):
    client, _ = client_of({"broken": unusable, "other": TwoPeople})
    with caplog.at_level(logging.ERROR, "ehrpose.web"), client:
        wait_for(lambda: "model broken could not be loaded" in caplog.text)
        assert "these weights are broken" in caplog.text
        assert client.get("/").status_code == 200
        assert client.post("/api/predict?model=other", content=encoded()).status_code == 200
        assert client.post("/api/predict", content=encoded()).status_code == 500


def test_the_page_offers_an_example_that_is_answered():
    client, _ = client_of({"two": TwoPeople})
    with client:
        page = client.get("/").text
        assert '<button id="example"' in page
        assert 'src="/static/example.jpg"' in page
        photo = client.get("/static/example.jpg")
        assert photo.headers["content-type"] == "image/jpeg"
        found = client.post("/api/predict", content=photo.content).json()
        assert (found["width"], found["height"]) == (720, 480)


def test_the_example_is_our_own_drawing():
    pytest.importorskip("torch")
    from ehrpose.analysis.pictures.web_example import example_photo

    shipped = cv2.imread(str(STATIC / "example.jpg")).astype(int)
    assert np.abs(shipped - example_photo().astype(int)).mean() < 4


def test_the_model_of_the_page_finds_the_people_of_the_example():
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    from ehrpose.inferencers.predictors import open_predictor

    predictor = open_predictor("ehrnet-small", device="cpu")
    (people,) = predictor.predict([cv2.imread(str(STATIC / "example.jpg"))])
    predictor.close()
    assert (people.scores > 0.3).sum() == 3
