"""Spinning, sleeping and single threads, compared in turns."""

from __future__ import annotations

import pytest

pytest.importorskip("onnxruntime", reason="onnxruntime is in the extra 'deploy'")

from ehrpose.analysis.speed import thread_benchmark
from ehrpose.analysis.speed.thread_benchmark import busy_seconds, measure, table, ways


def test_processes_take_turns_with_their_own_settings(root, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the tests; the ways have their own
    rows = measure(str(root / "tests/data/tiny_network.onnx"), "onnxruntime", 2, rounds=1, photos=1, busy=1)
    assert [row.way for row in rows] == ways(2)
    assert [row.way.settings.get("GOMP_SPINCOUNT") for row in rows] == ["300000", "3000", None, "3000"]
    assert (rows[0].wall_ratio, rows[0].cpu_ratio) == (1, 1)
    assert all(row.wall_ms > 0 and row.cpu_ms > 0 for row in rows)
    lines = table(rows).splitlines()
    assert len(lines) == 6
    assert lines[2].startswith("| onnxruntime | 1 | ")
    assert "2 threads, spinning" in lines[2]


def test_ratios_are_medians_of_the_rounds():
    turn = thread_benchmark._Turn
    first = [turn(1.0, 2.0, 0.5), turn(10.0, 2.0, 1.5), turn(1.0, 2.0, None)]
    times = [turn(2.0, 1.0, 0.1), turn(5.0, 1.0, 0.3), turn(3.0, 4.0, None)]
    row = thread_benchmark._summary("torch", 2, ways(2)[1], times, first)
    assert (row.wall_ms, row.cpu_ms, row.wall_ratio, row.cpu_ratio, row.others) == (3000, 1000, 2, 0.5, 0.2)


def test_a_model_that_cannot_be_opened_is_an_error(monkeypatch):
    monkeypatch.setattr(thread_benchmark, "ways", lambda num_threads: ways(num_threads)[:1])
    with pytest.raises(ValueError, match="no-such-model"):
        measure("no-such-model", "onnxruntime", rounds=1)


def test_work_of_the_cores_adds_up():
    before = busy_seconds()
    if before is None:
        pytest.skip("no /proc/stat")
    assert sum(i * i for i in range(3_000_000)) > 0
    assert busy_seconds() > before
