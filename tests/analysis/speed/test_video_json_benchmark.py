from __future__ import annotations

import pytest

from ehrpose.analysis.speed.video_json_benchmark import ALONE, measure, table
from ehrpose.inferencers.inferencer import PoseInferencer


def test_all_ways_are_timed_in_turn(exported_small):
    with PoseInferencer(str(exported_small().path), num_threads=1) as inferencer:
        num_frames, taken = measure(inferencer, 0.2, (96, 64), 2)
        with pytest.raises(ValueError, match="expected positive numbers"):
            measure(inferencer, 0.2, (96, 64), 0)
    assert num_frames == 5
    assert list(taken) == [ALONE, "video to jsonl", "video to video"]
    assert all(len(times) == 2 and min(times) > 0 for times in taken.values())


def test_ratios_are_medians_of_the_rounds():
    rows = table(100, {ALONE: [1.0, 2.0, 4.0], "video to jsonl": [2.0, 2.0, 40.0]}).splitlines()[2:]
    assert rows == [f"| {ALONE} | 50.0 | 1.00 |", "| video to jsonl | 50.0 | 0.50 |"]
