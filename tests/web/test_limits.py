"""Limits of the running server, over real sockets: no client may hold it, or fill its memory."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import socket
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np
import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")

from page_server import Gated, Moody, TwoPeople, encoded, running

from ehrpose.web import model_pool, uploads
from ehrpose.web.connections import RateLimit
from ehrpose.web.limits import Budget, BusyError, Limits
from ehrpose.web.model_pool import MAX_WAITING, ModelPool
from ehrpose.web.uploads import memory_limit, silence


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=60)


def head(length, path="/api/predict", more=""):
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode()


def answer_of(connection):
    """Return status, headers and body; all None if the connection was closed without an answer."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            return None, None, None
        data += part
    lines, _, body = data.partition(b"\r\n\r\n")
    first, *rest = lines.decode().split("\r\n")
    headers = {line.split(": ", 1)[0].lower(): line.split(": ", 1)[1] for line in rest}
    while len(body) < int(headers.get("content-length", 0)):
        body += connection.recv(65536)
    return int(first.split()[1]), headers, body


def ask(port, photo, path="/api/predict"):
    with connect(port) as connection:
        connection.sendall(head(len(photo), path) + photo)
        return answer_of(connection)


def is_closed(connection):
    """Wait until the other side has closed the connection."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def test_headers_that_do_not_come_are_cut():
    pool = ModelPool({"two": TwoPeople})
    with running(pool, Limits(head_s=0.5)) as (port, _):
        for start in (b"", b"POST /api/predict HTT", head(5)[:-2]):
            with connect(port) as connection:
                connection.sendall(start)
                assert is_closed(connection)
        with connect(port) as connection:  # after an answer, too
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer_of(connection)[0] == 200
            connection.sendall(b"GET /api")
            assert is_closed(connection)


def test_a_slow_body_is_cut_and_leaves_one_line(caplog):
    pool = ModelPool({"two": TwoPeople})
    with running(pool, Limits(grace_s=0.2, pause_s=0.1)) as (port, _):
        for _ in range(MAX_WAITING + 1):  # each took a place in the queue and returned it
            with connect(port) as connection:
                connection.sendall(head(1000) + b"1234")
                status, headers, body = answer_of(connection)
                assert (status, headers["connection"]) == (408, "close")
                assert "expected 20 kB/s" in json.loads(body)["error"]
                assert is_closed(connection)
        assert ask(port, encoded())[0] == 200
    lines = [record.getMessage() for record in caplog.records if "upload" in record.getMessage()]
    assert len(lines) == MAX_WAITING + 1
    assert lines[0].startswith("upload from 127.0.0.1 refused: the upload is too slow: expected 20 kB/s")
    assert re.search(r"got 4 bytes in \d+\.\d", lines[0])


def test_a_body_that_never_ends_is_cut():
    pool = ModelPool({"two": TwoPeople})
    limits = Limits(body_s=0.3, pause_s=0.1)
    with running(pool, limits) as (port, _), connect(port) as connection:
        connection.sendall(head(10_000_000) + bytes(1_000_000))  # fast enough until here
        assert answer_of(connection)[0] == 408


def test_an_answer_that_is_not_taken_is_cut(caplog):
    async def large(scope, receive, send):
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(1000):
                await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})

    with (
        running(None, Limits(write_s=0.2, head_s=3600), large) as (port, server),
        connect(port) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(1)  # and no more
        until(lambda: not server.server_state.connections and not server.server_state.tasks)
    assert "connection from 127.0.0.1 cut: answer not taken within 0.2 s" in caplog.text


def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_the_number_of_connections_is_limited():
    pool = ModelPool({"two": TwoPeople})
    with running(pool, Limits(connections=2)) as (port, _):
        held = [connect(port) for _ in range(2)]
        for connection in held:
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert answer_of(connection)[0] == 200
        more = [connect(port) for _ in range(2)]
        for connection in more:
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, headers, body = answer_of(more[0])
        assert (status, headers["retry-after"], headers["x-content-type-options"]) == (503, "5", "nosniff")
        assert "too many connections" in json.loads(body)["error"]
        for connection in (*held, *more):
            connection.close()


def test_busy_is_known_before_the_body_and_a_refusal_reaches_who_still_sends(tmp_path):
    gate, record = tmp_path / "gate", tmp_path / "seen"
    pool = ModelPool({"two": partial(Gated, str(gate), str(record))})
    photo, answers = encoded(), []
    with running(pool, Limits()) as (port, _):
        threads = [
            threading.Thread(target=lambda: answers.append(ask(port, photo)[0]))
            for _ in range(MAX_WAITING + 1)
        ]
        for thread in threads:
            thread.start()
        with connect(port) as connection:
            until(lambda: pool._entries["two"].waiting > MAX_WAITING)
            connection.sendall(head(1_000_000))  # and no byte of the body
            status, headers, body = answer_of(connection)
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
            assert "photos are already waiting for two" in json.loads(body)["error"]
        with connect(port) as connection:
            connection.sendall(head(10_000_000) + bytes(10_000_000))
            assert answer_of(connection)[0] == 503
        with connect(port) as connection:  # as curl asks before it sends a large file
            connection.sendall(head(10_000_000, more="Expect: 100-continue\r\n"))
            assert answer_of(connection)[0] == 503
        gate.touch()
        for thread in threads:
            thread.join()
    assert answers == [200] * (MAX_WAITING + 1)


def test_the_bytes_of_all_uploads_are_limited():
    pool = ModelPool({"two": TwoPeople})
    limits = Limits(max_bytes=100_000, bodies=150_000)
    with running(pool, limits) as (port, _), connect(port) as first:
        first.sendall(head(100_000) + b"1")
        until(lambda: pool._entries["two"].waiting == 1)
        status, headers, body = ask(port, bytes(60_000))
        assert (status, headers["retry-after"]) == (503, "1")
        assert "already holds many uploads" in json.loads(body)["error"]
        # A body that does not say its size counts with the largest.
        with connect(port) as connection:
            chunked = b"POST /api/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            connection.sendall(chunked)
            assert answer_of(connection)[0] == 503
        assert ask(port, encoded())[0] == 200


def test_a_budget_waits_for_what_is_returned():
    async def run():
        budget = Budget(10, "things")
        with budget.take(8):
            waiting = asyncio.create_task(budget.acquire(5))
            await asyncio.sleep(0)
            assert not waiting.done()
            with pytest.raises(BusyError, match="many things"), budget.take(3):
                pass
        await waiting
        assert budget.used == 5
        budget.release(5)
        assert budget.used == 0

    asyncio.run(run())


def test_a_hang_and_a_crash_end_with_a_new_process(monkeypatch):
    """Takes the time limit three times: it must be long enough for good photos on a busy machine."""
    monkeypatch.setattr(model_pool, "MAX_FAILURES", 2)
    pool = ModelPool({"moody": Moody}, Limits(photo_s=3.0))
    good, hangs, crashes = (encoded(shape=(10, width, 3)) for width in (14, 11, 12))
    with running(pool, pool.limits) as (port, _):
        assert ask(port, good)[0] == 200
        first = pool.pid("moody")
        status, headers, body = ask(port, hangs)
        assert (status, headers["retry-after"]) == (503, "5")
        assert "no answer within 3 s" in json.loads(body)["error"]
        assert not pool.is_open("moody")
        assert ask(port, good)[0] == 200
        assert pool.pid("moody") != first
        status, _, body = ask(port, crashes)
        assert status == 503
        assert "ended with exit code 3" in json.loads(body)["error"]
        # The second failure in a row: the model rests, and the state says so.
        assert ask(port, crashes)[0] == 503
        status, headers, body = ask(port, good)
        assert status == 503
        assert 50 < int(headers["retry-after"]) <= 60
        assert "moody failed several times and rests" in json.loads(body)["error"]
        with connect(port) as connection:
            connection.sendall(b"GET /api/health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            status, _, body = answer_of(connection)
        assert (status, json.loads(body)["status"], json.loads(body)["failing"]) == (
            503,
            "failing",
            ["moody"],
        )
        monkeypatch.setattr(pool._entries["moody"], "rests_until", 0.0)
        assert ask(port, good)[0] == 200


def in_new_process(function):
    """Run a function in a process of its own: here earlier tests leave free memory, which no limit counts."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function).result()


def allocate():
    with memory_limit(50_000_000):
        np.ones(20_000_000, np.uint8)
        with pytest.raises(MemoryError):
            np.ones(100_000_000, np.uint8)
    np.ones(100_000_000, np.uint8)


def decode_with_little_memory():
    photo = encoded(shape=(4000, 4000, 3))
    kept = uploads._BYTES_PER_PIXEL, uploads._BYTES_ALWAYS
    uploads._BYTES_PER_PIXEL, uploads._BYTES_ALWAYS = 0, 1_000_000
    try:
        uploads.decode_photo(photo, 50_000_000)
        refused = (0, "")
    except uploads.UploadError as error:
        refused = (error.status, str(error))
    uploads._BYTES_PER_PIXEL, uploads._BYTES_ALWAYS = kept
    return refused, uploads.decode_photo(photo, 50_000_000).shape


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by Linux's RLIMIT_DATA")
def test_memory_of_a_decoder_is_limited():
    in_new_process(allocate)


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory by Linux's RLIMIT_DATA")
def test_a_photo_whose_decoder_takes_too_much_memory_is_refused():
    (status, message), shape = in_new_process(decode_with_little_memory)
    assert status == 413
    assert "4000 x 4000 px took more than 1 MB: make it smaller" in message
    assert shape == (4000, 4000, 3)


def test_what_decoders_say_of_broken_files_is_dropped(capfd):
    with silence():
        os.write(2, b"libwhatever warning: corrupt data\n")
    os.write(2, b"kept\n")
    assert capfd.readouterr().err == "kept\n"


def test_the_log_repeats_a_line_a_few_times_a_minute():
    now = [0.0]
    limit = RateLimit(2, lambda: now[0])

    def logged(text, *values):
        record = logging.LogRecord("ehrpose.web", logging.WARNING, "", 0, text, values, None)
        return record.getMessage() if limit.filter(record) else None

    cut = "cut after %d bytes"
    assert [logged(cut, n) for n in range(4)] == ["cut after 0 bytes", "cut after 1 bytes", None, None]
    assert logged("another line") == "another line"
    now[0] = 61.0
    assert logged(cut, 7) == "cut after 7 bytes (and 2 more like it before)"
    assert logged(cut, 8) == "cut after 8 bytes"
