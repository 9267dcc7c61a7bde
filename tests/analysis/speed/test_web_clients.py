from __future__ import annotations

import re
import socket
from contextlib import contextmanager

import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")

from ehrpose.analysis.speed import web_clients
from ehrpose.analysis.speed.web_clients import print_web_clients


@pytest.fixture
def several_addresses():
    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError:
        pytest.skip("this system has one loopback address")


@pytest.mark.slow  # starts the server with a network
@pytest.mark.usefixtures("several_addresses")
def test_a_greedy_client_is_refused_and_polite_ones_are_not(root, capsys):
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    print_web_clients(str(root / "tests/data/tiny_network.onnx"), 2, 12, 2.0, None, [])
    first, *clients, last = capsys.readouterr().out.splitlines()
    assert re.match(r"[0-9.]+ photos/s from 3 clients, ", first)
    answered = [int(re.search(r"(\d+) answered", line)[1]) for line in clients]
    for line, count in zip(clients[:2], answered):
        assert line.startswith("polite")
        assert count >= 1
        assert line.endswith("others {}")
    assert clients[2].startswith("greedy (12 at a time): ")
    assert "'503': " in clients[2]
    assert last == f"the server counted {sum(answered)} answers with people, and 3 before"


@pytest.mark.usefixtures("several_addresses")
def test_a_server_that_does_not_answer_is_an_error(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    @contextmanager
    def nowhere(model, options):
        yield port, 0

    monkeypatch.setattr(web_clients, "server", nowhere)
    with pytest.raises(ValueError, match="net does not answer a photo"):
        print_web_clients("net", 1, 0, 1.0, b"", [])
