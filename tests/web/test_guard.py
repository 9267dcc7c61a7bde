from __future__ import annotations

import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("httpx", reason="httpx is in the extra 'tests'")

from page_server import TwoPeople
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

from ehrpose.web.app import create_app
from ehrpose.web.guard import HEADERS, LOCAL_HOSTS, Guard, host_name
from ehrpose.web.limits import Limits
from ehrpose.web.model_pool import ModelPool
from ehrpose.web.server import allowed_hosts

TOKEN = "a-token-for-tests-only"


def client_of(base="http://localhost:8000", **options):
    app = create_app(ModelPool({"two": TwoPeople}), **options)
    return TestClient(app, base_url=base, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/static/app.js", 200),
        ("GET", "/static/none.js", 404),
        ("GET", "/api/health", 200),
        ("GET", "/api/models", 200),
        ("GET", "/api/predict", 405),
        ("POST", "/api/predict?model=none", 404),
        ("GET", "/nothing", 404),
    ],
)
def test_every_answer_has_the_security_headers(method, path, status):
    answer = client_of().request(method, path)
    assert answer.status_code == status
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    policy = answer.headers["content-security-policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"):
        assert part in policy
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("cause", ["host", "site", "token", "fault"])
def test_refusals_and_faults_have_the_security_headers_too(cause, monkeypatch):
    monkeypatch.setattr(ModelPool, "failing", property(lambda pool: 1 / 0))
    client = client_of(token=TOKEN)
    answer = {
        "host": lambda: client.get("/", headers={"host": "evil.example"}),
        "site": lambda: client.post("/api/predict", headers={"sec-fetch-site": "cross-site"}),
        "token": lambda: client.get("/api/models"),
        "fault": lambda: client.get("/api/health"),
    }[cause]()
    assert answer.status_code == {"host": 400, "site": 403, "token": 401, "fault": 500}[cause]
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({}, False),
        ({"origin": "http://localhost:8000", "sec-fetch-site": "same-origin"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"origin": "http://localhost:9000"}, True),
        ({"origin": "http://evil.example"}, True),
        ({"origin": "http://localhost:8000.evil.example"}, True),
        ({"origin": "null"}, True),
        ({"origin": ""}, True),
        ({"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, True),
    ],
)
@pytest.mark.parametrize("path", ["/api/predict", "/api/heatmap"])
def test_posts_of_other_sites_pages_are_refused(path, headers, is_refused):
    answer = client_of().post(f"{path}?model=none", headers=headers)
    assert answer.status_code == (403 if is_refused else 404)
    if is_refused:
        assert "a page of another site" in answer.json()["error"]


def test_other_hosts_names_are_refused():
    for base in ("http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000", "http://LOCALHOST"):
        assert client_of(base).get("/api/health").status_code == 200
    for base in (
        "http://evil.example",
        "http://testserver",
        "http://192.168.1.4:8000",
        "http://localhost.evil.example",
    ):
        answer = client_of(base).get("/api/health")
        assert answer.status_code == 400, base
        assert "host name" in answer.json()["error"]


def test_a_server_for_others_keeps_a_list_of_names(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "Pi.lan")
    hosts = allowed_hosts("0.0.0.0", ["pose.example"])
    for base in ("http://localhost", "http://192.168.1.4:8000", "http://[fd00::5]:8000", "http://pi.lan", "http://pi.local",
                 "http://pose.example"):  # fmt: skip
        assert client_of(base, hosts=hosts).get("/api/health").status_code == 200, base
    # A name that its owner can point to this machine.
    assert client_of("http://evil.example", hosts=hosts).get("/api/health").status_code == 400
    assert allowed_hosts("127.0.0.1", []) == list(LOCAL_HOSTS)
    for wrong in ("pose.example:8000", "http://pose.example", "*", "", "*.example"):
        with pytest.raises(ValueError, match="a host name without port"):
            allowed_hosts("0.0.0.0", [wrong])


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8000", "localhost"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("Pi.LAN.", "pi.lan"),
        ("", ""),
        ("localhost:80:evil.example", "localhost"),
    ],
)
def test_the_name_in_a_host_header(header, name):
    assert host_name(header) == name


@pytest.mark.parametrize(
    "given",
    [None, "", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xe9", TOKEN],
)
def test_a_wrong_token_opens_nothing_but_the_page(given):
    client = client_of(token=TOKEN)
    headers = {} if given is None else {"authorization": given.encode("latin-1")}
    for answer in (
        client.get("/api/models", headers=headers),
        client.post("/api/predict?model=none", headers=headers),
        client.post("/api/heatmap?model=none", headers=headers),
        client.get("/nothing", headers=headers),
        client.get("//api/models", headers=headers),
    ):
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    for path in ("/", "/static/app.js", "/api/health"):
        assert client.get(path, headers=headers).status_code == 200


def test_the_right_token_opens_the_models():
    client = client_of(token=TOKEN)
    for given in (f"Bearer {TOKEN}", f"bearer  {TOKEN} "):
        assert client.get("/api/models", headers={"authorization": given}).status_code == 200
        assert client.post("/api/predict?model=none", headers={"authorization": given}).status_code == 404


def test_headers_that_the_application_sets_stay():
    async def application(scope, receive, send):
        await PlainTextResponse("x", headers={"Cache-Control": "max-age=5"})(scope, receive, send)

    client = TestClient(Guard(application, LOCAL_HOSTS, None, Limits()), base_url="http://localhost")
    assert client.get("/").headers.get_list("cache-control") == ["max-age=5"]
