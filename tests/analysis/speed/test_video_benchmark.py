from __future__ import annotations

import numpy as np
import pytest

from ehrpose.analysis.speed.video_benchmark import STEPS, print_benchmark, run_serial, write_clip
from ehrpose.inferencers.inferencer import PoseInferencer
from ehrpose.media import VideoReader


def test_both_ways_are_timed(demo_config, lively_checkpoint, small_options, capsys):
    ratio = print_benchmark(
        str(demo_config), str(lively_checkpoint), "cpu", None, None, (96, 64), 5, 1, small_options
    )
    assert ratio > 0
    told = capsys.readouterr().out
    assert told.startswith("5 frames of 96 x 64, demo_synthetic-128")
    assert f"ratio {ratio:.2f}" in told
    with pytest.raises(ValueError, match="must be positive"):
        print_benchmark(
            str(demo_config), str(lively_checkpoint), "cpu", None, None, (96, 64), 0, 1, small_options
        )


def test_one_after_another_writes_the_same_video(lively_model, tmp_path):
    clip = tmp_path / "clip.mp4"
    write_clip(clip, np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8), (96, 64), 4)
    inferencer = PoseInferencer(lively_model)
    seconds = run_serial(inferencer, clip, tmp_path / "serial.mp4")
    assert set(seconds) == set(STEPS)
    assert all(value > 0 for value in seconds.values())
    list(inferencer(clip, out_file=tmp_path / "overlapped.mp4", keep_sound=False))
    videos = []
    for name in ("serial", "overlapped"):
        with VideoReader(tmp_path / f"{name}.mp4") as reader:
            videos.append([image for image, _ in reader])
    assert np.shape(videos[0]) == np.shape(videos[1])
    difference = np.abs(np.subtract(videos[0], videos[1], dtype=float))
    assert difference.mean() < 8, "two encoders at much the same quality"
