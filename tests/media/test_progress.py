from __future__ import annotations

import pytest

from ehrpose.media import progress
from ehrpose.media.progress import Progress, Rate


def test_rate_is_that_of_the_last_frames(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    rate = Rate(window=4)
    assert rate.step() == 0
    for _ in range(10):
        now[0] += 1.0
        rate.step()
    for _ in range(4):
        now[0] += 0.1
        last = rate.step()
    assert last == pytest.approx(10)


def test_progress_says_how_many_and_how_long_still(monkeypatch, capsys):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    bar = Progress(10)
    now[0] += 2
    bar.step(4)
    assert "4/10, 2.0/s, 3 s left" in capsys.readouterr().err
    endless = Progress(None)
    now[0] += 1
    endless.step(3)
    assert "3, 3.0/s " in capsys.readouterr().err
