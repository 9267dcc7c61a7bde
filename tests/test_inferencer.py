from __future__ import annotations

import json
import threading

import cv2
import numpy as np
import pytest

from ehrpose.apis import inference, sample_people
from ehrpose.inferencer import PoseInferencer
from ehrpose.media import VideoReader, VideoWriter
from ehrpose.predictions import people_to_dicts
from ehrpose.tracking.pose_tracker import Tracked


@pytest.fixture(scope="module")
def inferencer(lively_model):
    return PoseInferencer(lively_model)


@pytest.fixture
def video(scene_photos, tmp_path):
    """Nine frames of three scenes."""
    path = tmp_path / "clip.avi"
    with VideoWriter(path, fps=10) as writer:
        for index in range(9):
            writer.write(cv2.imread(str(scene_photos / f"{index % 3}.png")))
    return path


def people_of(results) -> list:
    return [rows for result in results for rows in result["predictions"]]


def test_a_folder_gives_what_inference_gives(inferencer, lively_model, scene_photos):
    paths = sorted(scene_photos.glob("*.png"))
    expected = [people_to_dicts(sample_people(s), 0.1) for s in inference(lively_model, paths)]
    assert people_of(inferencer(scene_photos)) == expected
    assert any(expected)
    assert people_of(inferencer([str(p) for p in paths])) == expected
    assert people_of(inferencer(str(scene_photos / "*.png"))) == expected
    assert people_of(inferencer(paths[1])) == expected[1:2]
    assert people_of(inferencer(cv2.imread(str(paths[1])))) == expected[1:2]


def test_results_come_one_by_one_and_nothing_is_read_before(inferencer, tmp_path):
    results = inferencer(tmp_path / "nothing.jpg")
    with pytest.raises(FileNotFoundError, match="no photo, folder or glob match"):
        next(results)


def test_files_are_written_where_asked(inferencer, scene_photos, tmp_path):
    results = list(inferencer(scene_photos, out_dir=tmp_path / "out", batch_size=2))
    assert [len(result["predictions"]) for result in results] == [2, 1]
    assert [result["visualization"] for result in results] == [[], []]
    assert sorted(p.name for p in (tmp_path / "out/visualizations").iterdir()) == ["0.jpg", "1.jpg", "2.jpg"]
    written = json.loads((tmp_path / "out/predictions/1.json").read_text())
    assert written == results[0]["predictions"][1]
    assert set(written[0]) == {"keypoints", "keypoint_scores", "bbox", "bbox_score"}


def test_pictures_come_back_when_asked(inferencer, scene_photos):
    photo = cv2.imread(str(scene_photos / "0.png"))
    (result,) = inferencer(photo, return_vis=True, kpt_thr=0.0, draw_bbox=True)
    assert result["predictions"][0]
    assert result["visualization"][0].shape == photo.shape
    assert (result["visualization"][0] != photo).any()
    (with_heat,) = inferencer(photo, return_vis=True, kpt_thr=1e9, draw_heatmap=True)
    assert (with_heat["visualization"][0] != photo).any()


def test_unreadable_photos_are_named_and_the_others_done(inferencer, scene_photos, capsys):
    (scene_photos / "1.png").write_bytes(b"no photo at all")
    assert len(people_of(inferencer(scene_photos, batch_size=3))) == 2
    ((name, reason),) = inferencer.failed
    assert name.endswith("1.png")
    assert "not an image" in reason
    assert "1.png" in capsys.readouterr().err


def test_best_people_up_to_a_number(inferencer, scene_photos):
    everyone = people_of(inferencer(scene_photos, bbox_thr=0.0))
    best = people_of(inferencer(scene_photos, bbox_thr=0.0, num_instances=1))
    assert max(map(len, everyone)) > 1
    assert best == [rows[:1] for rows in everyone]


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


def test_an_input_is_never_overwritten(inferencer, video, scene_photos, tmp_path):
    photo = tmp_path / "a.jpg"
    cv2.imwrite(str(photo), cv2.imread(str(scene_photos / "0.png")))
    before = photo.read_bytes()
    with pytest.raises(ValueError, match="would overwrite its input"):
        list(inferencer(photo, vis_out_dir=tmp_path))
    assert photo.read_bytes() == before


def test_photos_of_any_shape_run_in_one_batch(demo_config, lively_checkpoint, small_options):
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 255, (h, w, 3), np.uint8) for h, w in ((64, 64), (50, 90), (120, 40))]
    inferencer = PoseInferencer(demo_config, lively_checkpoint, cfg_options=small_options, letterbox=(96, 64))
    maps = inferencer.predictor.model.maps
    shapes = []
    inferencer.predictor.model.maps = lambda images: shapes.append(tuple(images.shape)) or maps(images)
    together = people_of(inferencer(photos, batch_size=3))
    assert shapes == [(3, 3, 64, 96)]
    assert [len(rows) for rows in together] == [len(people_of(inferencer(photo))[0]) for photo in photos]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"skip": -1}, "skip must not be negative"),
        ({"max_frames": 0}, "max_frames positive"),
    ],
)
def test_wrong_arguments_are_named(inferencer, scene_photos, arguments, message):
    with pytest.raises(ValueError, match=message):
        next(inferencer(scene_photos, **arguments))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pose2d": "no-such-model"}, "no model of the zoo is called 'no-such-model'"),
        ({"pose2d": "configs/a.py", "backend": "onnxruntime"}, "backend is for exported files"),
        ({"pose2d": "end2end.onnx", "pose2d_weights": "a.pth"}, "holds its weights"),
        ({"pose2d": "end2end.onnx", "flip_test": True}, "flip_test cannot be changed"),
    ],
)
def test_models_that_cannot_be_used(arguments, message):
    with pytest.raises(ValueError, match=message):
        PoseInferencer(**arguments)


def readable_frames(path) -> int:
    with VideoReader(path) as reader:
        return len(list(reader))


def test_the_video_has_the_name_and_format_that_were_asked_for(inferencer, video, tmp_path):
    for name in ("a.mkv", "b.avi"):
        list(inferencer(video, out_file=tmp_path / "out" / name))
        assert inferencer.written == [tmp_path / "out" / name]
        assert readable_frames(tmp_path / "out" / name) == 9
    with pytest.raises(ValueError, match="would overwrite its input"):
        next(inferencer(video, out_file=video))
    with pytest.raises(ValueError, match="videos are written as"):
        next(inferencer(video, out_file=tmp_path / "a.gif"))


def test_one_picture_for_several_photos_is_refused(inferencer, scene_photos, tmp_path):
    with pytest.raises(ValueError, match="one picture, but there are 3 photos"):
        next(inferencer(scene_photos, out_file=tmp_path / "a.jpg"))
    list(inferencer(scene_photos / "0.png", out_file=tmp_path / "a.png"))
    assert cv2.imread(str(tmp_path / "a.png")).shape == cv2.imread(str(scene_photos / "0.png")).shape


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
    assert list(inferencer(video, pred_out_dir=tmp_path / "none", skip=40)) == []
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
    with pytest.raises(ValueError, match="color_by"):
        list(inferencer(video, out_dir=tmp_path / "out", color_by="mood"))
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
    assert f"its end is broken or missing: {count} of 60 frames could be read" in capfd.readouterr().err
    assert readable_frames(tmp_path / "out/cut.mp4") == count
    list(inferencer(cut, max_frames=5))
    assert "broken" not in capfd.readouterr().err


class Numbers:
    """A tracker that gives everyone a number never given before."""

    def __init__(self):
        self.count, self.times = 0, []

    def update(self, people, timestamp):
        self.times.append(timestamp)
        self.count += len(people)
        return Tracked(people, np.arange(self.count - len(people), self.count))


def test_a_tracker_gives_people_their_ids(inferencer, video, scene_photos):
    tracker = Numbers()
    everyone = [person for rows in people_of(inferencer(video, tracker=tracker)) for person in rows]
    assert [person["track_id"] for person in everyone] == list(range(tracker.count))
    assert tracker.count > 3
    assert tracker.times == pytest.approx([0.1 * i for i in range(9)])
    (plain, *_) = inferencer(video, return_vis=True, kpt_thr=0)
    (labelled, *_) = inferencer(video, return_vis=True, kpt_thr=0, tracker=Numbers(), color_by="id")
    assert (labelled["visualization"][0] != plain["visualization"][0]).any()
    with pytest.raises(ValueError, match="give fps"):
        list(inferencer(scene_photos, tracker=Numbers()))


def test_people_who_stand_still_keep_their_numbers(inferencer, scene_photos):
    photo = cv2.imread(str(scene_photos / "0.png"))
    frames = [photo] * 5
    options = {"high_score": 0.0, "low_score": 0.0}
    (single,) = people_of(inferencer(photo))
    ids = [[p["track_id"] for p in rows] for rows in people_of(inferencer(frames, fps=10, tracker=options))]
    assert ids[0] == list(range(len(single)))
    assert ids.count(ids[0]) == 5
    smoothed = people_of(inferencer(frames, fps=10, tracker={**options, "smoothing": {}}))
    np.testing.assert_allclose(smoothed[4][0]["keypoints"], single[0]["keypoints"], atol=0.02)
    everyone = people_of(inferencer(frames, fps=10, tracker=True))
    assert all("track_id" in person for rows in everyone for person in rows)
    with pytest.raises(ValueError, match="unknown tracker 'Fancy'"):
        list(inferencer(frames, fps=10, tracker={"type": "Fancy"}))


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
            waited.append(drawn.wait(10) and ahead.wait(10))
        return original_predict(images)

    calls, waited = [], []
    original_draw, original_predict = inferencer._draw, inferencer.predictor.predict
    monkeypatch.setattr(VideoReader, "__iter__", count)
    monkeypatch.setattr(inferencer, "_draw", draw)
    monkeypatch.setattr(inferencer.predictor, "predict", predict)
    list(inferencer(video, out_file=tmp_path / "a.mp4", batch_size=2))
    assert waited == [True]


def test_a_camera_is_written_in_its_own_time(inferencer, video, tmp_path, monkeypatch):
    """Frames come at 10 a second, the network sees some of them; the video is as long as the time was."""
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
