from __future__ import annotations

import re
from functools import partial

import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("httpx", reason="httpx is in the extra 'tests'")

from page_server import TwoPeople, encoded
from starlette.testclient import TestClient

from ehrpose.web.app import create_app
from ehrpose.web.metrics import LIMITS, Metrics
from ehrpose.web.model_pool import ModelPool

TOKEN = "a-token-of-many-letters"
# The format's own grammar of a line.
LINE = re.compile(r'[a-z_]+(\{[a-z]+="(\\.|[^"\\])*"(,[a-z]+="(\\.|[^"\\])*")*\})? [0-9.e+-]+')


@pytest.fixture
def pool():
    pool = ModelPool({"two": TwoPeople, 'a "b"\\': partial(TwoPeople)})
    yield pool
    pool.close()


def values(text):
    """Return the values by name and labels, after checking the form of each line."""
    found, kinds = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            kinds[name] = kind
        elif not line.startswith("# HELP "):
            assert LINE.fullmatch(line), line
            name, _, value = line.rpartition(" ")
            family = re.sub(r"_(bucket|sum|count)$", "", name.partition("{")[0])
            assert family in kinds or name.partition("{")[0] in kinds, f"{name} has no type"
            found[name] = float(value)
    return found


def test_requests_people_and_queues(pool):
    with TestClient(create_app(pool), base_url="http://localhost") as client:
        for _ in range(2):
            assert client.post("/api/predict", content=encoded()).status_code == 200
        assert client.post("/api/predict", content=b"no photo").status_code == 415
        assert client.get("/nothing/1").status_code == client.get("/nothing/2").status_code == 404
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = values(answer.text)
    assert found['ehrpose_requests_total{path="/api/predict",status="200"}'] == 2
    assert found['ehrpose_requests_total{path="/api/predict",status="415"}'] == 1
    assert found['ehrpose_requests_total{path="other",status="404"}'] == 2, "paths do not make up labels"
    assert found["ehrpose_errors_total"] == 0
    assert found["ehrpose_people_total"] == 4
    assert found['ehrpose_queue_length{model="two"}'] == 0
    assert found['ehrpose_model_open{model="two"}'] == 1
    assert found['ehrpose_model_open{model="a \\"b\\"\\\\"}'] == 0
    buckets = [
        found[f'ehrpose_request_seconds_bucket{{path="/api/predict",le="{limit}"}}'] for limit in LIMITS
    ]
    assert buckets == sorted(buckets)
    assert found['ehrpose_request_seconds_bucket{path="/api/predict",le="+Inf"}'] == 2
    assert found['ehrpose_request_seconds_count{path="/api/predict"}'] == 2
    assert found['ehrpose_request_seconds_sum{path="/api/predict"}'] > 0


def test_what_is_refused_is_counted_and_needs_the_token(pool):
    with TestClient(create_app(pool, token=TOKEN), base_url="http://localhost") as client:
        assert client.get("/metrics").status_code == 401
        found = values(client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text)
    assert found['ehrpose_requests_total{path="/metrics",status="401"}'] == 1


def test_failures_are_errors(pool):
    metrics = Metrics()
    for status in ("200", "404", "500", "503", "none"):
        metrics.add("/api/predict", status, 0.02)
    found = values(metrics.answer(pool, None).body.decode())
    assert found["ehrpose_errors_total"] == 3
    assert found['ehrpose_request_seconds_count{path="/api/predict"}'] == 1
