from __future__ import annotations

import pytest

from ehrpose.analysis.speed.rival_benchmark import compare_with_authors, table


def test_both_ways_have_times(demo_config, small_options):
    pytest.importorskip("openvino")
    rows = compare_with_authors(str(demo_config), 2, ["fp32"], 1, 1, cfg_options=small_options)
    assert [row[0] for row in rows] == ["authors' way: eager torch, usual decoder", "OpenVINO fp32"]
    assert all(value > 0 for row in rows for value in row[1:])


def test_the_table_says_how_many_times():
    text = table([("usual", 100.0, 50.0, 150.0), ("ours", 25.0, 5.0, 30.0)])
    assert text.splitlines()[-1] == "| ours | 25.0 | 5.0 | 30.0 | 5.0 |"
