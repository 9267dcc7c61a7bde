from __future__ import annotations

import pytest

from ehrpose.analysis.speed import size_benchmark


def test_each_backend_and_size_has_three_times(demo_config, small_options, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(size_benchmark, "PHOTOS_WH", ((640, 480), (100, 300)))
    rows = size_benchmark.compare_sizes(
        str(demo_config), None, ["onnxruntime"], rounds=1, cfg_options=small_options
    )
    assert [row[:2] for row in rows] == [("onnxruntime", (96, 64)), ("onnxruntime", (64, 192))]
    assert all(milliseconds > 0 for row in rows for milliseconds in row[2:])
    text = size_benchmark.table([("onnxruntime", (96, 64), 10.0, 10.5, 11.0)])
    assert text.splitlines()[-1] == "| onnxruntime | 96 x 64 | 10.0 | 10.5 | 1.05 | 1.10 |"
