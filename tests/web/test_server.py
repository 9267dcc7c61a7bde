from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")

from ehrpose.web.server import address, is_local, listen, opened, parse_args, read_token, serve


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
def test_broken_uploads_leave_one_line_each_and_not_without_end(root):
    server = start(root, "--port", "0")
    try:
        port = int(server.stdout.readline().split()[0].rsplit(":", 1)[1])
        url = f"http://localhost:{port}/api"
        form = urllib.request.Request(f"{url}/predict", b"{}", {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError, match="415"):
            urllib.request.urlopen(form, timeout=300)
        for path in ("predict", "heatmap") * 10:
            head = f"POST /api/{path} HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Length: 100000\r\n\r\n"
            with socket.create_connection(("127.0.0.1", port), timeout=300) as upload:
                upload.sendall(head.encode() + bytes(1000))
            with urllib.request.urlopen(f"{url}/health", timeout=300) as answer:  # after it has seen the end
                assert answer.status == 200
    finally:
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=300)
    first, *broken = err.splitlines()
    assert "WARNING: upload from 127.0.0.1 refused: " in first
    broken = [line for line in broken if line != "interrupted"]  # not said where the shell has SIGINT ignored
    assert {line.split("WARNING: ")[1] for line in broken} == {"upload from 127.0.0.1 broke off"}
    assert len(broken) <= 10


def test_a_server_for_others_says_what_it_opens_to_whom(root, tmp_path):
    (tmp_path / "token").write_text("a-token-for-tests-only\n")
    options = ("--host", "0.0.0.0", "--port", "0", "--allow-host", "pose.example")
    server = start(root, *options, "--token-file", str(tmp_path / "token"))
    try:
        port = int(server.stdout.readline().split()[0].rsplit(":", 1)[1])
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer a-token-for-tests-only", "Host": "evil.example"}, 400),
            ({"Authorization": "Bearer a-token-for-tests-only", "Host": "pose.example"}, 200),
        ):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
            connection.request("GET", "/api/models", headers=headers)
            assert connection.getresponse().status == status
            connection.close()
    finally:
        server.terminate()
        _, err = server.communicate(timeout=300)
    assert f"open to every machine that reaches port {port} on all addresses of this machine" in err
    assert "requests need the token" in err
    assert "no encryption: others on the network can read photos and the token" in err
    assert "host names answered: localhost, 127.0.0.1, ::1, pose.example, any address, " in err


def test_without_a_token_the_warning_says_so():
    text = opened("192.168.1.4", 8000, ["localhost", "addresses"], has_token=False)
    assert "port 8000 on 192.168.1.4; without a token, anyone there can use the models" in text
    assert "host names answered: localhost, any address" in text


def test_the_address_to_open():
    assert address("127.0.0.1", 1) == "http://localhost:1"
    assert address("::1", 1) == "http://[::1]:1"
    assert address("pi.lan", 1) == "http://pi.lan:1"


def test_a_token_comes_from_a_variable_or_a_file(monkeypatch, tmp_path):
    monkeypatch.setenv("POSE_TOKEN", "a-token-for-tests-only")
    assert read_token("POSE_TOKEN", None) == "a-token-for-tests-only"
    assert "POSE_TOKEN" not in os.environ  # the models' processes inherit the rest
    file = tmp_path / "token"
    file.write_text(" a-token-for-tests-only \n")
    assert read_token(None, str(file)) == "a-token-for-tests-only"
    assert read_token(None, None) is None
    with pytest.raises(ValueError, match=r"at least 16 ASCII .* the environment variable POSE_TOKEN, got 0"):
        read_token("POSE_TOKEN", None)
    for wrong in ("short", "with a space in its middle", "\u00fcber-a-token-for-tests"):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(ValueError, match="expected a token of at least 16"):
            read_token(None, str(file))
    with pytest.raises(FileNotFoundError):
        read_token(None, str(tmp_path / "none"))
    with pytest.raises(SystemExit):
        parse_args(["--token", "visible-to-all-users"])


@pytest.mark.parametrize("option", ["--max-mb", "--max-megapixels", "--photo-seconds"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_limits_are_positive_numbers(option, value):
    with pytest.raises(ValueError, match="must be a positive number, got"):
        serve([option, value])


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
