from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")

from ehrpose.web.server import is_local, listen


def start(root, *arguments):
    network = root / "tests/data/tiny_network.onnx"
    command = [sys.executable, str(root / "demo/web_demo.py"), "--model", f"tiny={network}", *arguments]
    env = {**os.environ, "PYTHONPATH": str(root)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_prints_its_address_answers_and_ends_with_ctrl_c(root):
    server = start(root, "--port", "0")
    try:
        line = server.stdout.readline()
        address = line.split()[0]
        assert address.startswith("http://localhost:")
        assert "models: tiny" in line
        body = b"P6 40 30 255\n" + bytes(3600)
        request = urllib.request.Request(f"{address}/api/predict", body, method="POST")
        with urllib.request.urlopen(request, timeout=300) as answer:
            assert answer.status == 200
    finally:
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=300)
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_an_upload_that_breaks_off_leaves_no_traceback_in_the_log(root):
    server = start(root, "--port", "0")
    try:
        port = int(server.stdout.readline().split()[0].rsplit(":", 1)[1])
        for path in ("predict", "heatmap"):
            head = f"POST /api/{path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 100000\r\n\r\n"
            with socket.create_connection(("127.0.0.1", port), timeout=30) as upload:
                upload.sendall(head.encode() + bytes(1000))
        with urllib.request.urlopen(f"http://localhost:{port}/api/health", timeout=30) as answer:
            assert answer.status == 200
    finally:
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=30)
    assert len(err.splitlines()) <= 1, err


def test_a_port_that_is_taken_is_named(root):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = start(root, "--port", str(taken.getsockname()[1]))
        _, err = server.communicate(timeout=300)
    assert server.returncode == 2
    assert "choose another with --port" in err


def test_which_hosts_are_this_machine_alone():
    assert [is_local(host) for host in ("127.0.0.1", "localhost", "::1")] == [True] * 3
    assert [is_local(host) for host in ("0.0.0.0", "192.168.1.4", "pi.local")] == [False] * 3


def test_addresses_that_are_not_ours():
    with pytest.raises(ValueError, match="cannot listen on 203"):
        listen("203.0.113.7", 8000)
    with pytest.raises(ValueError, match="port must be 0 to 65535"):
        listen("127.0.0.1", 70_000)
