"""A video in pieces gives what it gives as a whole, and what ``ehrpose predict`` gives."""

from __future__ import annotations

import av
import numpy as np
import pytest
from squares import SquarePeople, do_items, write_video

from ehrpose.batch.inputs import find_inputs
from ehrpose.batch.merge import join_video, same_seams
from ehrpose.batch.options import BatchOptions
from ehrpose.batch.outputs import Outputs
from ehrpose.batch.part import FramePeople, Part
from ehrpose.batch.planning import make_plan
from ehrpose.batch.sink import Sink
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.media.pieces import PieceReader

TIMES = np.cumsum(np.random.default_rng(3).integers(100, 900, 60) / 10000).tolist()


def run(video, out, **changes):
    """Do all items of a video; return the plan and what was merged."""
    options = BatchOptions(**changes)
    sink = Sink(out, "run")
    plan = make_plan(find_inputs([str(video)]), sink, options)
    do_items(plan, sink, options)
    return plan, Outputs(plan, sink, options, SquarePeople.meta).write()


def predict(video, out, tracker, batch_size=1):
    results = PoseInferencer(SquarePeople())(
        str(video), batch_size, tracker=tracker, pred_out_dir=str(out), pred_format="jsonl"
    )
    assert len(list(results)) > 0
    return (out / f"{video.stem}.jsonl").read_bytes()


@pytest.mark.parametrize("smooth", [None, "causal", "offline"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("groups.mp4", {"codec": "libx264", "g": 12, "bf": 2}),
        ("one_keyframe.mp4", {"codec": "libx264", "g": 1000, "bf": 2}),
        ("uneven.mkv", {"g": 10, "bf": 2, "times": TIMES}),
        ("late.mkv", {"g": 10, "times": [time + 3 for time in TIMES]}),
    ],
)
def test_four_pieces_equal_the_whole_and_what_predict_gives(tmp_path, name, options, smooth):
    if options.get("codec", "mpeg4") not in av.codecs_available:
        pytest.skip("this PyAV cannot write H.264")
    video = write_video(tmp_path / name, **options)
    plan, merged = run(video, tmp_path / "cut", piece_frames=14, track=True, smooth=smooth)
    assert len(plan.videos[0].items) >= 4
    assert (merged.whole, merged.frames, merged.errors, merged.again) == (1, 60, [], False)
    whole, _ = run(video, tmp_path / "whole", track=True, smooth=smooth)
    assert len(whole.videos[0].items) == 1
    lines = (tmp_path / f"cut/videos/{video.stem}.jsonl").read_bytes()
    assert lines == (tmp_path / f"whole/videos/{video.stem}.jsonl").read_bytes()
    assert lines == predict(video, tmp_path / "predict", BatchOptions(track=True, smooth=smooth).tracker)
    assert lines.count(b'"track_id": 1') > 20, "two people are tracked"


def test_pieces_hold_the_same_floats_as_the_whole(tmp_path):
    """The tables are rounded; the parts are not."""
    video = write_video(tmp_path / "a.mkv", g=10)
    found = {}
    for name, length in (("cut", 14), ("whole", 1000)):
        sink, options = Sink(tmp_path / name, "run"), BatchOptions(piece_frames=length)
        plan = make_plan(find_inputs([str(video)]), sink, options)
        do_items(plan, sink, options)
        parts = [sink.part(item, sink.record(item)) for item in plan.items]
        assert same_seams(parts)
        found[name] = list(join_video("a", parts, SquarePeople.meta, {"smoothing": {}}))
    for cut, whole in zip(found["cut"], found["whole"], strict=True):
        assert (cut.frame, cut.time, cut.size_wh) == (whole.frame, whole.time, whole.size_wh)
        for name in ("keypoints", "keypoint_scores", "scores", "ids"):
            assert getattr(cut, name).tobytes() == getattr(whole, name).tobytes()
            assert getattr(cut, name).dtype == getattr(whole, name).dtype


@pytest.mark.parametrize("batch_size", [3, 4])
def test_batches_are_those_of_the_whole_video(tmp_path, batch_size, monkeypatch):
    batches = []
    ordinary = SquarePeople.predict
    monkeypatch.setattr(
        SquarePeople, "predict", lambda self, images: batches.append(len(images)) or ordinary(self, images)
    )
    video = write_video(tmp_path / "a.mkv", g=7)
    run(video, tmp_path / "cut", piece_frames=14, batch_size=batch_size)
    cut, batches[:] = list(batches), []
    assert (
        predict(video, tmp_path / "predict", None, batch_size)
        == (tmp_path / "cut/videos/a.jsonl").read_bytes()
    )
    assert cut == batches
    assert set(cut) == {batch_size}


def test_a_video_whose_pieces_differ_at_a_seam_is_done_as_a_whole(tmp_path, monkeypatch):
    video = write_video(tmp_path / "a.mkv", g=10)
    ordinary = PieceReader._enter

    def spoilt(self, first):  # as after a keyframe which is none
        for number, image in enumerate(ordinary(self, first)):
            yield image
            if number == 0:
                self._sides = (self._sides[0] - 2, self._sides[1])

    sink, options = Sink(tmp_path / "out", "run"), BatchOptions(piece_frames=14, track=True)
    plan = make_plan(find_inputs([str(video)]), sink, options)
    with monkeypatch.context() as patch:
        patch.setattr(PieceReader, "_enter", spoilt)
        do_items(plan, sink, options)
    merged = Outputs(plan, sink, options, SquarePeople.meta).write()
    assert merged.again
    assert merged.table is None
    assert not (tmp_path / "out/videos/a.jsonl").exists()
    plan = make_plan(find_inputs([str(video)]), sink, options)
    (item,) = plan.items
    assert item.key.endswith("-whole")
    assert sink.record(item) is None
    do_items(plan, sink, options)
    assert Outputs(plan, sink, options, SquarePeople.meta).write().whole == 1
    assert (tmp_path / "out/videos/a.jsonl").read_bytes() == predict(video, tmp_path / "predict", True)


def test_a_part_keeps_what_it_was_given(tmp_path):
    photo = np.zeros((64, 96, 3), np.uint8)
    part = Part([], 25.0, "a", "b")
    again = Part.from_bytes(part.to_bytes())
    assert (again.frames, again.fps, again.head, again.tail) == ([], 25.0, "a", "b")
    assert part.to_bytes() == part.to_bytes()
    (people,) = SquarePeople().predict([photo])
    empty = Part([FramePeople(people, (96, 64), None)])
    (frame,) = Part.from_bytes(empty.to_bytes()).frames
    assert frame.people.keypoints.shape == (0, 5, 2)
    assert (frame.size_wh, frame.seconds) == ((96, 64), None)
    with pytest.raises(ValueError, match="not a part"):
        Part.from_bytes(b"PK not a zip")
