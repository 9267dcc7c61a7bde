"""Results of streams by server-sent events, over real sockets and processes."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections import Counter
from functools import partial

import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
pytest.importorskip("av", reason="PyAV is in the extra 'video'")

from page_server import Gated, TwoPeople, encoded, running
from stream_reading import DEADLINE, wait_for
from stream_server import StreamServer, clip

from ehrpose.media.live import LiveOptions, parse_sources
from ehrpose.web import feeds
from ehrpose.web.limits import Limits
from ehrpose.web.model_pool import ModelPool
from ehrpose.web.stream_hub import Mailbox, StreamHub

OPTIONS = LiveOptions(open_s=10, read_s=2, stall_s=1, first_delay=0.1, max_delay=0.5)
TOKEN, SECRET = "a-token-of-many-letters", "s3cr3t-pass"


@pytest.fixture
def camera():
    with StreamServer() as server:
        yield server


def hub_of(*words, opener=TwoPeople):
    return StreamHub(parse_sources(words), opener, OPTIONS)


def pool():
    return ModelPool({"two": TwoPeople})


class Follower:
    """A client of server-sent events."""

    def __init__(self, port, name, token=None, host="127.0.0.1"):
        self.connection = http.client.HTTPConnection(
            "127.0.0.1", port, timeout=DEADLINE, source_address=(host, 0)
        )
        headers = (
            {"Host": "localhost"}
            if token is None
            else {"Host": "localhost", "Authorization": f"Bearer {token}"}
        )
        self.connection.request("GET", f"/api/streams/{name}/events", headers=headers)
        self.answer = self.connection.getresponse()

    def event(self):
        """Return the next event and its data; (None, None) at the end."""
        kind, data = None, None
        while line := self.answer.readline().decode():
            if line == "\n" and kind is not None:
                return kind, data
            key, _, value = line.rstrip("\n").partition(": ")
            kind = value if key == "event" else kind
            data = json.loads(value) if key == "data" else data
        return None, None

    def until(self, true):
        """Return the first event for which a condition holds."""
        end = time.monotonic() + DEADLINE
        while True:
            kind, data = self.event()
            assert kind is not None, "the answer has ended"
            if true(kind, data):
                return data
            assert time.monotonic() < end

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
    connection.request("GET", path, headers={"Host": "localhost"})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer, body


def test_people_come_as_events_to_several_clients(camera):
    camera.credentials = ("admin", SECRET)
    hub = hub_of(f"door={camera.url('/mjpeg', f'admin:{SECRET}@')}")
    with running(pool(), Limits(), streams=hub) as (port, _):
        with Follower(port, "door") as first, Follower(port, "door") as second:
            assert first.answer.getheader("Content-Type").startswith("text/event-stream")
            assert first.answer.getheader("Cache-Control") == "no-store"
            for follower in (first, second):
                kind, state = follower.event()
                assert kind == "state"
                assert state["address"].startswith("http://***@127.0.0.1:")
                row = follower.until(lambda kind, _: kind == "people")
                assert row["source"] == "door"
                assert len(row["people"]) == 2
                assert row["people"][0].keys() >= {"keypoints", "bbox", "track_id"}
                later = follower.until(lambda kind, _: kind == "people")
                assert later["frame"] > row["frame"]
            _, counts = get(port, "/metrics")
            assert "ehrpose_stream_watchers 2" in counts
            wait_for(lambda: hub.sources()[0]["stats"].get("frames", 0) > 0, "no counts")
            _, body = get(port, "/api/streams")
            (listed,) = json.loads(body)["streams"]
            assert (listed["name"], listed["state"]) == ("door", "live")
            assert listed["stats"]["latency_ms"]["p95"] >= listed["stats"]["latency_ms"]["median"]
            _, counts = get(port, "/metrics")
            assert 'ehrpose_stream_live{source="door"} 1' in counts
            assert 'ehrpose_stream_latency_seconds{source="door",quantile="0.95"}' in counts
            assert SECRET not in body + counts + repr(hub.sources())
        wait_for(
            lambda: "ehrpose_stream_watchers 0" in get(port, "/metrics")[1], "a client that went still counts"
        )
    assert hub._process.exitcode is not None


def test_a_stream_that_is_lost_and_found_is_told(camera):
    hub = hub_of(f"door={camera.url('/mjpeg')}")
    with running(pool(), Limits(), streams=hub) as (port, _), Follower(port, "door") as follower:
        follower.until(lambda kind, _: kind == "people")
        camera.kill()
        follower.until(lambda kind, data: kind == "state" and data["state"] == "reconnecting")
        camera.start()
        follower.until(lambda kind, data: kind == "state" and data["state"] == "live")
        follower.until(lambda kind, _: kind == "people")


def test_a_process_that_dies_is_started_again(camera):
    hub = hub_of(f"door={camera.url('/mjpeg')}")
    with running(pool(), Limits(), streams=hub) as (port, _), Follower(port, "door") as follower:
        follower.until(lambda kind, _: kind == "people")
        old = hub._process.pid
        os.kill(old, signal.SIGKILL)
        told = follower.until(lambda kind, data: kind == "state" and data["state"] == "reconnecting")
        assert "started again" in told["reason"]
        follower.until(lambda kind, _: kind == "people")
        assert hub._process.pid != old


def test_a_file_ends_and_so_does_its_answer(camera):
    camera.clip = clip(0.4, kind="mp4", codec="mpeg4")
    hub = hub_of(f"film={camera.url('/clip.mp4')}")
    with running(pool(), Limits(), streams=hub) as (port, _):
        with Follower(port, "film") as follower:
            follower.until(lambda kind, data: kind == "state" and data["state"] == "ended")
            assert follower.event() == (None, None)
        hub._thread.join(DEADLINE)
        assert not hub._thread.is_alive(), "nothing is started again"


def test_what_is_refused(camera):
    hub = hub_of(f"door={camera.url('/mjpeg')}")
    with running(pool(), Limits(watchers=1), streams=hub, token=TOKEN) as (port, _):
        assert Follower(port, "door").answer.status == 401
        assert Follower(port, "gate", TOKEN).answer.status == 404
        with Follower(port, "door", TOKEN) as first:
            first.event()
            second = Follower(port, "door", TOKEN)
            assert (second.answer.status, second.answer.getheader("Retry-After")) == (503, "30")
            second.close()
    with running(pool(), Limits()) as (port, _):
        assert get(port, "/api/streams")[0].status == 404


def test_a_quiet_stream_sends_comments(monkeypatch):
    monkeypatch.setattr(feeds, "PING_S", 0.05)
    hub = StreamHub(
        parse_sources(["door=http://127.0.0.1:9/x"]), TwoPeople, OPTIONS, process=partial(_silent)
    )
    with running(pool(), Limits(), streams=hub) as (port, _), Follower(port, "door") as follower:
        follower.event()
        lines = [follower.answer.readline().decode() for _ in range(4)]
        assert lines == [": still here\n", "\n"] * 2


def _silent(pipe, *_):
    time.sleep(600)


def test_a_slow_client_gets_the_newest_and_nothing_piles_up():
    async def run():
        box = Mailbox()
        for number in range(1000):
            box.put("people", {"frame": number})
        box.put("state", {"state": "live"})
        taken = await box.take(1)
        assert taken == [("people", {"frame": 999}), ("state", {"state": "live"})]
        assert await box.take(0.01) == []

    asyncio.run(run())


def test_a_server_without_the_right_arguments(capsys, monkeypatch):
    from ehrpose.web.server import main

    for words, message in [
        (["--stream", "gopher://x/y"], "gopher:// is not supported"),
        (["--queue", "-1"], "--queue must be 0 or more"),
    ]:
        monkeypatch.setattr("sys.argv", ["ehrpose-web", "--model", "ehrnet-small", *words])
        with pytest.raises(SystemExit) as exit_:
            main()
        assert exit_.value.code == 2
        assert message in capsys.readouterr().err


def test_a_client_that_holds_the_queue_does_not_keep_others_out(tmp_path):
    """Clients of two addresses: the greedy one sends 20 photos at once, the other one at a time."""
    gate, photo, greedy = tmp_path / "gate", encoded(), []
    models = ModelPool({"two": partial(Gated, str(gate))})

    def ask(host):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE, source_address=(host, 0))
        connection.request("POST", "/api/predict", photo, {"Host": "localhost"})
        status = connection.getresponse().status
        connection.close()
        return status

    try:
        socket.create_server(("127.0.0.2", 0)).close()
    except OSError:
        pytest.skip("this system has one loopback address")
    with running(models, Limits()) as (port, _):
        threads = [threading.Thread(target=lambda: greedy.append(ask("127.0.0.2"))) for _ in range(20)]
        for thread in threads:
            thread.start()
        wait_for(lambda: len(greedy) == 15, "the queue takes one and four, and refuses 15")
        assert Counter(greedy) == {503: 15}
        done = []
        other = threading.Thread(target=lambda: done.append((ask("127.0.0.1"), len(greedy))))
        other.start()
        wait_for(lambda: models.queue_length("two") == 6, "the other has no place")
        gate.touch()
        for thread in [other, *threads]:
            thread.join(DEADLINE)
    status, before = done[0]
    assert status == 200
    assert before <= 18, "at most the one in progress, and one more, were answered before"
    assert Counter(greedy) == {503: 15, 200: 5}
