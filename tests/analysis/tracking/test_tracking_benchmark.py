from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from ehrpose.analysis.tracking.detection_noise import DetectionNoise, NoisyDetector
from ehrpose.analysis.tracking.tracking_benchmark import GreedyIouTracker, run_tracker, sweep_options
from ehrpose.analysis.tracking.tracking_recordings import make_noise, make_recordings, make_video, true_people
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.tracking import PoseTracker

pytest.importorskip("trackeval", reason="trackeval is in the extras 'tracking' and 'tests'")

NO_NOISE = DetectionNoise(0, 0, 0, 4, 1e-6, 0, 0, 0)


@pytest.fixture(scope="module")
def skeleton(coco_keypoints):
    return KeypointMeta.build(coco_keypoints)


@pytest.fixture(scope="module")
def recordings(skeleton):
    return make_recordings(skeleton, range(2), 60, DetectionNoise())


@pytest.fixture
def tool(root):
    path = root / "tools/analysis_tools/benchmark_tracking.py"
    spec = importlib.util.spec_from_file_location("benchmark_tracking", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_noise_all_visible_people_are_found_where_they_are(skeleton):
    frame = make_video(skeleton, 1, 5)[4]
    people = NoisyDetector(NO_NOISE, 0)(frame)
    assert len(people) == (frame.visible > 0).any(axis=1).sum() > 0
    for keypoints, scores in zip(people.keypoints, people.keypoint_scores):
        errors = np.abs(frame.keypoints - keypoints).max(axis=2)
        n = int(np.where(scores > 0, errors, 0).sum(axis=1).argmin())
        assert errors[n][scores > 0].max() < 1e-3
        assert (scores > 0)[frame.visible[n] == 2].all()
    assert (np.diff(people.scores) <= 0).all()


def test_noise_depends_on_the_seed_only(skeleton):
    frame = make_video(skeleton, 1, 5)[4]
    first, again, other = (NoisyDetector(DetectionNoise(), seed)(frame) for seed in (3, 3, 4))
    assert np.array_equal(first.keypoints, again.keypoints)
    assert first.keypoints.shape != other.keypoints.shape or (first.keypoints != other.keypoints).any()


def test_people_hardly_visible_need_not_be_found(skeleton):
    frame = make_video(skeleton, 3, 5)[2]
    shares = np.full_like(frame.shares, 0.5)
    shares[0] = 0.1
    truth = true_people(frame._replace(shares=shares))
    assert truth.ignored[0]
    assert not truth.ignored.all()


def test_the_tracker_beats_the_baseline(recordings, skeleton):
    baseline = run_tracker(GreedyIouTracker, recordings, skeleton)
    ours = run_tracker(lambda: PoseTracker(skeleton), recordings, skeleton)
    smooth = run_tracker(lambda: PoseTracker(skeleton, smoothing={}), recordings, skeleton)
    assert ours.numbers["switches"] < baseline.numbers["switches"] / 2
    assert ours.numbers["IDF1"] > baseline.numbers["IDF1"] + 0.05
    assert smooth.acceleration < 0.8 * ours.acceleration
    assert smooth.error < 1.05 * ours.error
    assert smooth.true_acceleration < smooth.acceleration


def test_the_tool_prints_a_row_for_each_tracker(tool, capsys):
    tool.main(
        [
            "--videos",
            "1",
            "--frames",
            "12",
            "--video-options",
            "num_people=(2,3)",
            "--noise",
            "false_people=0",
        ]
    )
    lines = capsys.readouterr().out.splitlines()
    assert "seeds 0 to 0" in lines[0]
    assert "false_people=0" in lines[0]
    names = [line.split("|")[1].strip() for line in lines if line.startswith("| ")]
    assert names == [
        "tracker",
        "greedy IoU",
        "OKS, no motion",
        "PoseTracker",
        "PoseTracker, smoothing",
        "PoseTracker, smoothing offline",
    ]
    assert lines[-1].startswith("true people: ")


def test_the_tool_sweeps_an_option_on_other_videos(tool, capsys):
    tool.main(["--videos", "1", "--frames", "8", "--sweep", "smoothing.beta", "1", "8"])
    lines = capsys.readouterr().out.splitlines()
    assert "seeds 1000 to 1000" in lines[0]
    assert [line.split("|")[1].strip() for line in lines[3:5]] == ["smoothing.beta=1", "smoothing.beta=8"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "a.py"], "give both --config and --checkpoint"),
        (["--videos", "0"], "at least 1 video"),
        (["--noise", "fog=1"], "unknown noise fog; available: jitter"),
        (["--tracker-options", "max_agee=1"], "max_agee"),
        (["--tracker-options", "max_age=-1"], "max_age: expected"),
        (["--video-options", "colour=1"], "SyntheticVideo: .*colour"),
        (["--sweep", "max_age"], "at least one number"),
        (["--sweep", "max_age", "long"], "expected numbers for the sweep of max_age, got 'long'"),
    ],
)
def test_wrong_options_are_named(tool, options, message):
    with pytest.raises(ValueError, match=message):
        tool.main(["--videos", "1", "--frames", "3", *options])


def test_a_sweep_keeps_the_other_options():
    rows = sweep_options(["smoothing.beta", "2"], {"max_age": 1, "smoothing": {"min_cutoff": 1}})
    assert rows == {"smoothing.beta=2": {"max_age": 1, "smoothing": {"min_cutoff": 1, "beta": 2.0}}}
    assert sweep_options(["min_hits", "3"], {}) == {"min_hits=3": {"min_hits": 3}}


def test_noise_takes_values():
    assert make_noise({"jitter": 0.5}).jitter == 0.5
