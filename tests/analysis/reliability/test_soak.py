"""Soaking: growth of memory and open files, and wrong answers, are faults."""

from __future__ import annotations

import json
import sys

import pytest

from ehrpose.analysis.reliability import soak_video
from ehrpose.analysis.reliability.soak import _wrong, judge, soak


def samples(memory, files, number=200):
    return [(float(t), memory(t / number), files(t / number)) for t in range(number)]


def test_memory_and_files_that_stay_are_no_fault():
    faults, note = judge(samples(lambda t: 500 if t > 0.2 else 100, lambda t: 20))
    assert faults == []
    assert note == "memory 500 MB, at the end 500 MB; open files 20, at the end 20"


def test_growth_is_a_fault():
    faults, _ = judge(samples(lambda t: 500 + 200 * t, lambda t: 20 + int(40 * t)))
    assert [fault.split(" grew")[0] for fault in faults] == ["memory", "open files"]


def test_too_few_samples_are_not_compared():
    assert judge([(0.0, 1.0, 1)] * 3) == ([], "too short to compare memory")


def test_wrong_answers_of_the_server_are_named():
    people = [{"score": 1}]
    body = json.dumps({"people": people}).encode()
    assert _wrong((200, None, body), people) == ""
    assert _wrong((200, None, body), []) == "other people than before on the same photo"
    assert _wrong((503, "3", b""), people) == ""
    assert _wrong((503, None, b""), people) == "503 without Retry-After"
    assert _wrong((415, None, b""), None) == ""
    assert _wrong((500, None, b""), None) == "a photo that is cut off was answered with 500"
    assert (
        _wrong(("ConnectionResetError", None, b""), people)
        == "a photo was answered with ConnectionResetError"
    )


@pytest.mark.slow  # opens a network twice, once in the web server
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_short_soak_has_the_same_answers(root):
    pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")
    results = soak(str(root / "tests/data/tiny_network.onnx"), ["predict", "web"], 8)
    assert [result.area for result in results] == ["predict", "web"]
    assert all(result.cases > 10 for result in results)
    assert [result.faults for result in results] == [[], []]


def test_each_frame_of_a_long_video_is_in_the_table(root, monkeypatch):
    pytest.importorskip("onnxruntime")
    model, count = str(root / "tests/data/tiny_network.onnx"), soak_video._rows
    monkeypatch.setattr(soak_video, "_rows", lambda path: count(path) - 1)
    (result,) = soak(model, ["video"], 1.0, video_hours=0.002)
    assert (result.cases, result.lost) == (180, "1 frame")
    assert result.faults == ["the table has 179 of 180 frames"]


@pytest.mark.slow
def test_a_long_video_is_whole_and_a_model_must_open(root):
    pytest.importorskip("onnxruntime")
    (result,) = soak(str(root / "tests/data/tiny_network.onnx"), ["video"], 1.0, video_hours=0.01)
    assert (result.cases, result.faults, result.lost) == (900, [], "nothing")
    with pytest.raises(ValueError, match="did not start"):
        soak(str(root / "tests/data/none.onnx"), ["video"], 1.0, video_hours=0.001)
