from __future__ import annotations

import json
import threading
from functools import partial

import cv2
import numpy as np
import pytest
from outcomes import people_of, readable_frames

from ehrpose.inferencers import pictures
from ehrpose.media import VideoReader, VideoWriter
from ehrpose.slow_steps import SlowSteps


def test_video_in_video_and_json_out(inferencer, video, tmp_path):
    results = list(inferencer(video, out_dir=tmp_path / "out", batch_size=4))
    assert [len(result["predictions"]) for result in results] == [4, 4, 1]
    with VideoReader(tmp_path / "out/visualizations/clip.mp4") as written:
        assert len(list(written)) == 9
        assert written.fps == 10
    frames = json.loads((tmp_path / "out/predictions/clip.json").read_text())
    assert [frame["frame_id"] for frame in frames] == list(range(9))
    assert [frame["instances"] for frame in frames] == people_of(results)


def test_part_of_a_video(inferencer, video):
    everything = people_of(inferencer(video))
    assert people_of(inferencer(video, skip=2, max_frames=3)) == everything[2:5]


def test_an_error_midway_leaves_no_broken_video(inferencer, video, tmp_path, monkeypatch):
    calls = []

    def predict(images):
        calls.append(len(images))
        if len(calls) == 3:
            raise RuntimeError("the network broke")
        return original(images)

    original = inferencer.predictor.predict
    monkeypatch.setattr(inferencer.predictor, "predict", predict)
    with pytest.raises(RuntimeError, match="the network broke"):
        list(inferencer(video, out_dir=tmp_path / "out"))
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_a_caller_who_stops_keeps_what_is_done(inferencer, video, tmp_path):
    results = inferencer(video, out_dir=tmp_path / "out")
    next(results)
    next(results)
    results.close()
    with VideoReader(tmp_path / "out/visualizations/clip.mp4") as written:
        assert len(list(written)) == 2
    assert len(json.loads((tmp_path / "out/predictions/clip.json").read_text())) == 2


def test_the_video_has_the_name_and_format_that_were_asked_for(inferencer, video, tmp_path):
    for name in ("a.mkv", "b.avi"):
        list(inferencer(video, out_file=tmp_path / "out" / name))
        assert inferencer.written == [tmp_path / "out" / name]
        assert readable_frames(tmp_path / "out" / name) == 9
    with pytest.raises(ValueError, match="would overwrite its input"):
        next(inferencer(video, out_file=video))
    with pytest.raises(ValueError, match="expected a video suffix"):
        next(inferencer(video, out_file=tmp_path / "a.gif"))


def test_photos_become_a_video(inferencer, scene_photos, tmp_path):
    results = list(inferencer(scene_photos, fps=5, out_dir=tmp_path / "out"))
    assert readable_frames(tmp_path / "out/visualizations/photos.mp4") == 3
    frames = json.loads((tmp_path / "out/predictions/photos.json").read_text())
    assert [frame["timestamp"] for frame in frames] == [0.0, 0.2, 0.4]
    assert [frame["instances"] for frame in frames] == people_of(results)


def test_photos_of_two_sizes_are_no_video(inferencer, scene_photos, tmp_path):
    cv2.imwrite(str(scene_photos / "2.png"), np.zeros((64, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=r"2\.png: .*all frames must be \(128, 128\) px, got \(32, 64\)"):
        list(inferencer(scene_photos, fps=5, out_dir=tmp_path / "out"))
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_a_skipped_part_keeps_numbers_and_times_of_the_whole(inferencer, video, tmp_path):
    results = list(inferencer(video, pred_out_dir=tmp_path, skip=4, max_frames=2))
    frames = json.loads((tmp_path / "clip.json").read_text())
    assert [(f["frame_id"], f["timestamp"]) for f in frames] == [(4, 0.4), (5, 0.5)]
    assert [frame.index for result in results for frame in result["frames"]] == [4, 5]
    with pytest.raises(ValueError, match="nothing is left after `skip` 40"):
        list(inferencer(video, pred_out_dir=tmp_path / "none", skip=40))
    assert not (tmp_path / "none").exists()


def test_ctrl_c_keeps_what_is_done(inferencer, video, tmp_path, monkeypatch):
    calls = []

    def predict(images):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(images)

    original = inferencer.predictor.predict
    monkeypatch.setattr(inferencer.predictor, "predict", predict)
    with pytest.raises(KeyboardInterrupt):
        list(inferencer(video, out_dir=tmp_path))
    assert readable_frames(tmp_path / "visualizations/clip.mp4") == 3
    assert len(json.loads((tmp_path / "predictions/clip.json").read_text())) == 3


def test_an_error_in_drawing_is_raised_and_leaves_nothing(inferencer, video, tmp_path):
    with pytest.raises(ValueError, match="color_by='id' needs ids"):
        list(inferencer(video, out_dir=tmp_path / "out", color_by="id"))
    assert (tmp_path / "out").is_dir(), "it had begun to write"
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_a_broken_end_is_named_with_counts(inferencer, scene_photos, tmp_path, capfd):
    whole = tmp_path / "whole.avi"
    with VideoWriter(whole, fps=10) as writer:
        for index in range(60):
            writer.write(cv2.imread(str(scene_photos / f"{index % 3}.png")))
    cut = tmp_path / "cut.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    count = sum(1 for _ in inferencer(cut, vis_out_dir=tmp_path / "out"))
    assert 20 < count < 40
    assert f"the end is broken or missing; {count} of 60 frames could be read" in capfd.readouterr().err
    assert readable_frames(tmp_path / "out/cut.mp4") == count
    list(inferencer(cut, max_frames=5))
    assert "broken" not in capfd.readouterr().err
    cut.write_bytes(whole.read_bytes()[:-60])
    list(inferencer(cut, skip=57))
    assert f"{cut}: the end is broken or missing; 60 frames could be read" in capfd.readouterr().err


def test_frames_a_second_are_written_into_the_corner(inferencer, video):
    plain = [r["visualization"][0] for r in inferencer(video, return_vis=True)]
    rated = [r["visualization"][0] for r in inferencer(video, return_vis=True, show_fps=True)]
    for a, b in zip(plain, rated):
        assert (a[:32] != b[:32]).any()
        np.testing.assert_array_equal(a[32:], b[32:])


def test_reading_drawing_and_finding_go_on_side_by_side(inferencer, video, tmp_path, monkeypatch):
    """The network sees the second frame only once the first is drawn and the fourth is read."""
    read, drawn = [], threading.Event()
    ahead = threading.Event()
    frames = VideoReader.__iter__

    def count(reader):
        for item in frames(reader):
            read.append(1)
            if len(read) >= 4:
                ahead.set()
            yield item

    def draw(*args, **options):
        picture = original_draw(*args, **options)
        drawn.set()
        return picture

    def predict(images):
        calls.append(1)
        if len(calls) == 2:
            waited.append(drawn.wait(60) and ahead.wait(60))
        return original_predict(images)

    calls, waited = [], []
    original_draw, original_predict = pictures.draw_found, inferencer.predictor.predict
    monkeypatch.setattr(VideoReader, "__iter__", count)
    monkeypatch.setattr(pictures, "draw_found", draw)
    monkeypatch.setattr(inferencer.predictor, "predict", predict)
    list(inferencer(video, out_file=tmp_path / "a.mp4", batch_size=2))
    assert waited == [True]


def test_a_camera_is_written_in_its_own_time(inferencer, video, tmp_path, monkeypatch):
    """Frames arrive at 10 per second, the network sees some of them; the video lasts as long as the recording."""
    now = [0.0]
    real = cv2.VideoCapture

    class Camera:
        def __init__(self, source):
            self.inner = real(str(video)) if source == 0 else real(source)

        def read(self):
            now[0] += 0.1
            return self.inner.read()

        def __getattr__(self, name):
            return getattr(self.inner, name)

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    monkeypatch.setattr("ehrpose.media.video.time.monotonic", lambda: now[0])
    frames = [frame for r in inferencer("webcam:0", out_dir=tmp_path) for frame in r["frames"]]
    assert 1 <= len(frames) <= 9
    monkeypatch.undo()
    took = frames[-1].timestamp - frames[0].timestamp
    assert readable_frames(tmp_path / "visualizations/webcam0.mp4") == round(10 * took) + 1
    assert len(json.loads((tmp_path / "predictions/webcam0.json").read_text())) == len(frames)


@pytest.mark.parametrize("moving", [True, False])
def test_frames_that_become_slow_are_told_once(inferencer, video, scene_photos, capsys, monkeypatch, moving):
    now = [0.0]

    def predict(images):
        calls.append(len(images))
        now[0] += 3.0 if len(calls) > 6 else 0.2
        return original(images)

    calls, original = [], inferencer.predictor.predict
    clocks = {"clock": lambda: now[0], "cpu_clock": lambda: now[0], "load": lambda: 11.4, "cores": 2}
    monkeypatch.setattr("ehrpose.slow_steps.SlowSteps", partial(SlowSteps, **clocks))
    monkeypatch.setattr(inferencer.predictor, "predict", predict)
    list(inferencer(video if moving else [str(scene_photos / f"{i % 3}.png") for i in range(9)]))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == (1 if moving else 0)
    assert not moving or said[0].startswith(
        "frames take 15 times as long as before, 3 s and not 0.2 s: other programs"
    )
