"""Streams of real servers that are killed, stall, change size and send rubbish."""

from __future__ import annotations

import socket
import threading
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is in the extra 'video'")

from stream_reading import reading, wait_for
from stream_server import StreamServer, clip, level_of

LIVE_PATHS = ["/mjpeg", "/stream.ts", "/live.m3u8"]


@pytest.fixture
def server():
    with StreamServer() as server:
        yield server


@pytest.mark.parametrize("path", LIVE_PATHS)
def test_a_stream_is_live_and_its_pictures_come_in_order(server, path):
    with reading(server.url(path)) as read:
        frames = [read.take() for _ in range(12)]
        assert read.states() == ["connecting", "live"]
    indices, times = [frame.index for frame in frames], [frame.time for frame in frames]
    assert indices == sorted(set(indices))
    assert times == sorted(times)
    for frame in frames:
        image = frame.image()
        assert image.shape == (48, 64, 3)
        assert min(abs(float(image.mean()) - level_of(number)) for number in range(6)) < 4


@pytest.mark.parametrize("path", LIVE_PATHS)
def test_a_server_that_is_killed_and_comes_back(server, path):
    with reading(server.url(path)) as read:
        read.take()
        server.kill()
        read.until(lambda _: "reconnecting" in read.states())
        last = read.one.stats.read
        server.start()
        frame = read.until(lambda frame: frame is not None and frame.index > last)
        assert read.states()[:2] == ["connecting", "live"]
        assert read.states()[-1] == "live"
        assert read.one.stats.reconnects >= 1
        assert frame.index > last, "numbers go on"


def test_a_server_that_is_not_there_yet(server):
    server.kill()
    with reading(server.url("/mjpeg")) as read:
        wait_for(lambda: read.states().count("reconnecting") >= 2, "no second attempt")
        server.start()
        assert read.take() is not None


@pytest.mark.parametrize("path", ["/mjpeg", "/stream.ts"])
def test_a_stream_that_stands_still_is_shown_as_stalled_and_then_opened_again(server, path):
    with reading(server.url(path)) as read:
        read.take()
        server.flowing.clear()
        read.until(lambda _: "reconnecting" in read.states())
        assert "stalled" in read.states()
        server.flowing.set()
        shown = len(read.told)
        read.until(lambda _: "live" in read.states()[shown:])


@pytest.mark.parametrize("path", LIVE_PATHS)
def test_pictures_change_their_size_in_mid_stream(server, path):
    with reading(server.url(path)) as read:
        assert read.take().image().shape == (48, 64, 3)
        server.size_wh = (96, 80)
        frame = read.until(lambda frame: frame is not None and frame.image().shape == (80, 96, 3))
        assert abs(float(frame.image().mean()) - 120) < 110
        assert read.states() == ["connecting", "live"], "the connection stays"


@pytest.mark.parametrize("path", ["/mjpeg", "/stream.ts"])
def test_broken_packets_are_skipped_and_counted(server, path):
    with reading(server.url(path)) as read:
        read.take()
        server.rubbish = 4
        read.until(lambda _: read.one.stats.broken > 0)
        wait_for(lambda: server.rubbish == 0, "not all was sent")
        last = read.one.stats.read
        read.until(lambda frame: frame is not None and frame.index > last + 5)
        assert read.states() == ["connecting", "live"], "the connection stays"


def test_only_the_newest_picture_is_kept(server):
    with reading(server.url("/mjpeg")) as read:
        read.take()
        wait_for(lambda: read.one.stats.dropped >= 10, "nothing is dropped")
        newest = read.one.stats.read - 1
        frame = read.take()
        assert frame.index >= newest
        assert frame.arrived <= time.monotonic()
    stats = read.one.stats
    assert stats.read >= stats.dropped + 2


def test_all_pictures_of_a_file_are_read_and_then_it_has_ended(server):
    server.clip = clip(2.0, kind="mp4", codec="mpeg4")
    with reading(server.url("/clip.mp4")) as read:
        frames = []
        while (frame := read.take()) is not None:
            frames.append(frame)
            time.sleep(0.005)  # the reader is faster, and waits
        assert [frame.index for frame in frames] == list(range(50))
        assert [frame.time for frame in frames] == pytest.approx(np.arange(50) / 25)
        assert read.states() == ["connecting", "live", "ended"]
        assert read.one.is_over


def test_a_playlist_with_an_end_is_a_file(server):
    server.pieces = 3
    with reading(server.url("/live.m3u8")) as read:
        numbers = []
        while (frame := read.take()) is not None:
            numbers.append(frame.index)
    assert numbers == list(range(30))
    assert read.states()[-1] == "ended"


def test_a_photo_is_a_film_of_one_picture(server):
    with reading(server.url("/photo.jpg")) as read:
        assert read.take().image().shape == (48, 64, 3)
        assert read.take() is None
    assert read.states() == ["connecting", "live", "ended"]


def test_a_file_that_breaks_off_is_read_on_where_it_was(server):
    server.clip = clip(6.0, (320, 240), kind="mp4", codec="mjpeg")
    server.cut = len(server.clip) // 2
    with reading(server.url("/clip.mp4")) as read:
        times = []
        while (frame := read.take()) is not None:
            times.append(round(frame.time, 3))
    assert "reconnecting" in read.states()
    assert times == sorted(set(times)), "no picture comes twice"
    assert len(times) >= 148, "at most the one at the cut is lost"
    assert read.states()[-1] == "ended"


def test_a_file_that_always_breaks_off_has_failed(server):
    whole = clip(6.0, (320, 240), kind="mp4", codec="mjpeg")
    server.clip = whole[: len(whole) // 2]
    with reading(server.url("/clip.mp4")) as read:
        while read.take() is not None:
            pass
    assert read.states()[-1] == "failed"
    assert "of 6.0 s" in read.told[-1][2]


def test_several_sources_take_turns(server):
    words = [f"a={server.url('/mjpeg')}", f"b={server.url('/mjpeg')}", f"c={server.url('/stream.ts')}"]
    with reading(words) as read:
        read.until(lambda _: all(source.stats.read for source in read.sources.sources))
        for source in read.sources.sources:
            wait_for(lambda source=source: source._slot is not None, "no picture")
        names = [frame.source.name for frame in read.sources.take(3)]
        assert sorted(names) == ["a", "b", "c"]
        seen = [read.take().source.name for _ in range(30)]
        assert set(seen) == {"a", "b", "c"}


def test_one_that_fails_does_not_end_the_others(server):
    words = [f"good={server.url('/mjpeg')}", f"gone={server.url('/nothing')}"]
    with reading(words) as read:
        wait_for(lambda: "failed" in read.states("gone"), "not noticed")
        assert read.take().source.name == "good"
        assert read.states("gone") == ["connecting", "failed"]
        assert "404" in dict((name, why) for name, _, why in read.told)["gone"]


def test_attempts_can_be_limited(server):
    server.kill()
    with reading(server.url("/mjpeg"), max_retries=2) as read:
        assert read.take() is None
    assert read.states() == ["connecting", "reconnecting", "reconnecting", "failed"]
    assert read.one.state[0] == "failed"
    assert "2 more attempts" in read.one.state[1]


@pytest.mark.parametrize("credentials", ["", "admin:wrong@"])
def test_a_wrong_password_is_not_tried_again(server, credentials):
    server.credentials = ("admin", "s3cret-pass")
    with reading(server.url("/mjpeg", credentials)) as read:
        assert read.take() is None
    assert read.states() == ["connecting", "failed"]
    assert "401" in read.one.state[1]
    with reading(server.url("/mjpeg", "admin:s3cret-pass@")) as read:
        assert read.take() is not None
    assert "s3cret-pass" not in repr(read.told) + repr(read.sources.sources) + repr(vars(read.one)["address"])


def test_a_server_that_never_answers():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://u:s3cret@127.0.0.1:{silent.getsockname()[1]}/x?token=s3cret"
        with reading(address, open_s=0.3, max_retries=1) as read:
            assert read.take() is None
    assert read.states() == ["connecting", "reconnecting", "failed"]
    assert "s3cret" not in repr(read.told)


def test_a_playlist_cannot_open_files_of_this_machine(server, tmp_path):
    (tmp_path / "secret.ts").write_bytes(clip(0.4))
    playlist = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.4,\nfile://{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    )
    server.playlist = playlist
    with reading(server.url("/live.m3u8"), max_retries=1) as read:
        assert read.take() is None
    assert read.states()[-1] == "failed"


def test_closing_does_not_wait_for_a_stream_that_hangs(server):
    server.flowing.clear()
    with reading(server.url("/mjpeg"), open_s=3, read_s=3) as read:
        wait_for(lambda: server.seen, "not asked")
        began = time.monotonic()
        closer = threading.Thread(target=read.sources.close)
        closer.start()
        closer.join(20)
        assert not closer.is_alive()
        assert time.monotonic() - began < 20
        assert read.sources.take() == []


def test_a_local_file_is_a_source_too(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip(1.0, kind="mp4", codec="mpeg4"))
    with reading(str(path)) as read:
        count = 0
        while read.take() is not None:
            count += 1
    assert count == 25
    assert read.one.name == "clip"


def test_a_damaged_local_file_fails_at_once(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"nothing of the kind" * 50)
    with reading(str(path)) as read:
        assert read.take() is None
    assert read.states() == ["connecting", "failed"]


def test_a_camera_that_is_unplugged_is_opened_again(monkeypatch):
    class Camera:
        opened = 0

        def __init__(self, number):
            assert number == 7
            Camera.opened, self.left = Camera.opened + 1, 3

        def isOpened(self):  # noqa: N802, OpenCV's name
            return True

        def get(self, _):
            return 0.0

        def read(self):
            self.left -= 1
            time.sleep(0.01)
            return self.left >= 0, np.full((48, 64, 3), 90, np.uint8)

        def release(self):
            """Nothing to free."""

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with reading("webcam:7") as read:
        read.until(lambda frame: frame is not None and Camera.opened >= 3)
    assert read.one.name == "webcam7"
    assert read.states()[:3] == ["connecting", "live", "reconnecting"]
