"""People in streams, found by an object whose answers are known."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

pytest.importorskip("av", reason="PyAV is in the extra 'video'")

from stream_reading import DEADLINE, stream_threads, wait_for
from stream_server import StreamServer, clip

from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.inferencers.streams import fitted
from ehrpose.media import VideoReader
from ehrpose.media.live import LiveOptions
from ehrpose.structures import People

FAST = LiveOptions(open_s=10, read_s=2, stall_s=1, first_delay=0.1, max_delay=0.5)


class OnePerson:
    """Finds one person of score 0.5 in the middle of each picture; slow if asked to be."""

    def __init__(self, meta, seconds=0.0):
        self.meta, self.seconds, self.batches = meta, seconds, []

    def predict(self, images):
        self.batches.append(len(images))
        time.sleep(self.seconds)
        return [self._person(image.shape) for image in images]

    def _person(self, shape):
        xy = np.tile(np.array([shape[1] / 2, shape[0] / 2], np.float32), (1, 5, 1))
        xy += np.array([[-8, -8], [8, -8], [-8, 8], [8, 8], [0, 0]], np.float32)
        return People(xy, np.full((1, 5), 0.9, np.float32), np.array([0.5], np.float32))


@pytest.fixture
def finder(five_keypoints):
    return OnePerson(five_keypoints)


@pytest.fixture
def server():
    with StreamServer() as server:
        yield server
    wait_for(lambda: not stream_threads(), "threads of streams go on")


def first(results, count):
    """Return the first results, and end."""
    found, end = [], time.monotonic() + DEADLINE
    for result in results:
        found.append(result)
        assert time.monotonic() < end
        if len(found) == count:
            break
    results.close()
    return found


def test_results_of_several_sources_carry_their_names(server, finder):
    words = [f"door={server.url('/mjpeg')}", f"yard={server.url('/stream.ts')}"]
    results = first(PoseInferencer(finder).watch(words, live=FAST), 30)
    assert {result.source for result in results} == {"door", "yard"}
    for result in results:
        assert len(result.results) == 1
        assert result.results.size_wh == (64, 48)
        assert 0 <= result.latency < DEADLINE
        assert abs(result.arrived - time.time()) < DEADLINE
        row = json.loads(json.dumps(result.to_dict()))
        assert row["source"] == result.source
        assert set(row) == {
            "source", "arrived", "latency_ms", "file", "frame", "time", "width", "height", "keypoint_names", "people",
        }  # fmt: skip
        assert row["people"][0]["bbox_score"] == 0.5
    for name in ("door", "yard"):
        numbers = [result.results.frame for result in results if result.source == name]
        assert numbers == sorted(set(numbers))


def test_a_slow_network_gets_the_newest_pictures(server, five_keypoints):
    slow = OnePerson(five_keypoints, 0.2)
    results = first(PoseInferencer(slow).watch(server.url("/mjpeg"), live=FAST), 8)
    numbers = [result.results.frame for result in results]
    assert numbers[-1] >= 14, "pictures in between are dropped"
    assert all(result.latency >= 0.2 for result in results)
    # A queue would let the last one wait for all before it.
    assert min(result.latency for result in results[4:]) < 1.0 + min(result.latency for result in results[:4])


def test_sources_share_a_batch(server, finder):
    finder.seconds = 0.1
    words = [f"{name}={server.url('/mjpeg')}" for name in "abc"]
    first(PoseInferencer(finder).watch(words, 3, live=FAST), 30)
    assert max(finder.batches) == 3


def test_each_source_has_a_tracker_of_its_own(server, finder):
    words = [f"a={server.url('/mjpeg')}", f"b={server.url('/mjpeg')}"]
    results = first(PoseInferencer(finder).watch(words, tracker=True, live=FAST), 40)
    for name in "ab":
        ids = {person.id for result in results if result.source == name for person in result.results}
        assert ids - {-1} == {min(ids - {-1})}, "one person, one id"


def test_a_source_is_closed_after_so_many_pictures(server, finder):
    words = [f"a={server.url('/mjpeg')}", f"b={server.url('/mjpeg')}"]
    results = list(PoseInferencer(finder).watch(words, max_frames=5, live=FAST))
    assert sorted(result.source for result in results) == ["a"] * 5 + ["b"] * 5


def test_pictures_and_files(server, finder, tmp_path):
    inferencer = PoseInferencer(finder)
    found = []
    for result in inferencer.watch(
        f"door={server.url('/mjpeg')}",
        live=FAST,
        max_frames=20,
        out_dir=tmp_path,
        return_vis=True,
        show_fps=True,
    ):
        found.append(result)
        if len(found) == 5:
            server.size_wh = (96, 80)
    assert {result.image.shape for result in found} == {(48, 64, 3), (80, 96, 3)}
    assert {result.picture.shape for result in found} == {(48, 64, 3)}, "a video has one size"
    assert sorted(path.name for path in inferencer.written) == ["door.json", "door.mp4"]
    rows = json.loads((tmp_path / "predictions" / "door.json").read_text())
    assert [row["frame_id"] for row in rows] == [result.results.frame for result in found]
    with VideoReader(tmp_path / "visualizations" / "door.mp4") as video:
        shown = [image for image, _ in video]
    assert len(shown) >= 1
    assert shown[0].shape == (48, 64, 3)


def test_a_written_video_leaves_out_a_long_break(server, finder, tmp_path, monkeypatch):
    from ehrpose.inferencers import streams

    monkeypatch.setattr(streams, "_MAX_BREAK", 0.5)
    out, broke = tmp_path / "people.mp4", 0.0
    results = PoseInferencer(finder).watch(server.url("/mjpeg"), live=FAST, max_frames=30, out_file=out)
    for count, result in enumerate(results):
        if count == 10:
            server.kill()
            time.sleep(3)
            server.start()
        broke = max(broke, result.results.time)
    assert broke > 3, "results have the real time"
    with VideoReader(out) as video:
        assert len(list(video)) / video.fps < 2.5


def test_what_is_refused(server, finder):
    inferencer = PoseInferencer(finder)
    words = [server.url("/mjpeg"), server.url("/mjpeg")]
    with pytest.raises(ValueError, match="`out_file` is one video"):
        inferencer.watch(words, out_file="a.mp4")
    with pytest.raises(ValueError, match="a tracker of its own"):
        inferencer.watch(words, tracker=object())
    with pytest.raises(ValueError, match="`batch_size` as a whole number"):
        inferencer.watch(words, 0)
    with pytest.raises(TypeError, match="did you mean 'draw_bbox'"):
        inferencer.watch(words, draw_box=True)
    with pytest.raises(ValueError, match="is not supported"):
        inferencer.watch("ftp://a/b")


def test_the_pictures_of_a_file_have_no_latency_of_waiting(server, five_keypoints):
    server.clip = clip(1.0, kind="mp4", codec="mpeg4")
    slow = OnePerson(five_keypoints, 0.02)
    results = list(PoseInferencer(slow).watch(server.url("/clip.mp4"), live=FAST))
    assert len(results) == 25
    assert [result.results.time for result in results] == pytest.approx(np.arange(25) / 25)


@pytest.mark.parametrize(
    ("shape", "inner"), [((40, 40), (30, 30)), ((20, 80), (15, 60)), ((30, 60), (30, 60))]
)
def test_a_picture_of_another_shape_gets_bars(shape, inner):
    whole = fitted(np.full((*shape, 3), 200, np.uint8), (60, 30))
    assert whole.shape == (30, 60, 3)
    lit = np.argwhere(whole[..., 0] > 100)
    assert tuple(np.ptp(lit, axis=0) + 1) == inner
