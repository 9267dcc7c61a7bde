"""Streams by RTSP, TCP, UDP and https."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

pytest.importorskip("av", reason="PyAV is in the extra 'video'")

from rtsp_server import RtspServer
from stream_reading import reading
from stream_server import STEP, StreamServer, clip, continuous


@pytest.fixture
def camera():
    with RtspServer() as server:
        yield server


def test_rtsp_is_live(camera):
    with reading(camera.url()) as read:
        frames = [read.take() for _ in range(10)]
        assert read.states() == ["connecting", "live"]
    assert frames[-1].image().shape == (48, 64, 3)
    assert [frame.index for frame in frames] == sorted({frame.index for frame in frames})
    assert camera.seen[0].startswith("OPTIONS")


def test_an_rtsp_server_that_is_killed_and_comes_back(camera):
    with reading(camera.url()) as read:
        read.take()
        camera.kill()
        read.until(lambda _: "reconnecting" in read.states())
        last = read.one.stats.read
        camera.start()
        read.until(lambda frame: frame is not None and frame.index > last)
        assert read.states()[-1] == "live"


def test_rtsp_that_stands_still(camera):
    with reading(camera.url()) as read:
        read.take()
        camera.flowing.clear()
        read.until(lambda _: "reconnecting" in read.states())
        assert "stalled" in read.states()
        camera.flowing.set()
        shown = len(read.told)
        read.until(lambda _: "live" in read.states()[shown:])


def test_rtsp_that_changes_its_size_and_sends_rubbish(camera):
    with reading(camera.url()) as read:
        assert read.take().image().shape == (48, 64, 3)
        camera.size_wh, camera.rubbish = (96, 80), 2
        read.until(lambda frame: frame is not None and frame.image().shape == (80, 96, 3))
        read.until(lambda frame: read.one.stats.broken > 0)
        assert read.states() == ["connecting", "live"], "the connection stays"


def test_the_password_of_a_camera_is_used_and_never_told(camera):
    camera.credentials = ("admin", "s3cret-pass")
    with reading(camera.url("/cam?channel=1", "admin:wr0ng-pass@")) as read:
        assert read.take() is None
    assert read.states() == ["connecting", "failed"]
    assert "401" in read.one.state[1]
    with reading(camera.url("/cam?channel=1", "admin:s3cret-pass@")) as good:
        assert good.take() is not None
        camera.kill()
        good.until(lambda _: "reconnecting" in good.states())
    said = repr([read.told, good.told, read.sources.sources, good.sources.sources, good.one.address])
    assert "s3cret" not in said
    assert "wr0ng" not in said
    assert "channel=1" in good.one.address


def test_tcp():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"tcp://127.0.0.1:{listening.getsockname()[1]}"
        with sending(_accepted(listening)), reading(address) as read:
            assert read.take().image().shape == (48, 64, 3)


def test_udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.connect(("127.0.0.1", port))
        with sending(lambda: out), reading(f"udp://127.0.0.1:{port}") as read:
            assert read.take().image().shape == (48, 64, 3)


@pytest.mark.parametrize(("known", "verify"), [(False, True), (False, False), (True, True)])
def test_certificates_are_checked_unless_told_otherwise(tmp_path, monkeypatch, known, verify):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-days", "2",
             "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
            check=True, capture_output=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no openssl to make a certificate")
    with StreamServer() as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
        address = server.url("/mjpeg").replace("http://", "https://")
        if known:
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with reading(address, tls_verify=verify, max_retries=1, read_s=10) as read:
            assert (read.take() is not None) is (known or not verify)
        assert ("live" in read.states()) is (known or not verify)


@contextmanager
def sending(connect):
    """Send MPEG-TS to a connection, in packets as of UDP, until the end of the block."""
    stopped = threading.Event()

    def send():
        number, counters, connection = 0, {}, None
        while not stopped.is_set():
            piece = continuous(clip(0.4, first=number), counters)
            number += 10
            try:
                connection = connection or connect()
                for at in range(0, len(piece), 1316):
                    connection.sendall(piece[at : at + 1316])
                    time.sleep(STEP)
            except OSError:
                connection = None
                time.sleep(STEP)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(60)


def _accepted(listening):
    listening.settimeout(5)
    return lambda: listening.accept()[0]
