from __future__ import annotations

import pytest

from ehrpose.analysis.speed.benchmark_report import accuracy_efficiency


@pytest.mark.parametrize(
    ("ap", "fps", "wanted"),
    [(64.8, 22.95, 99.144), (59.2, 20.43, 80.630), (35.7, 50.96, 121.285)],
    ids=["H0", "H-1", "H-4"],
)
def test_the_papers_rows_at_15_watts(ap, fps, wanted):
    assert accuracy_efficiency(ap, fps, 15) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize(("ap", "fps", "watts"), [(101, 1, 1), (1, -1, 1), (1, 1, 0), (float("nan"), 1, 1)])
def test_impossible_values_are_refused(ap, fps, watts):
    with pytest.raises(ValueError, match="watts"):
        accuracy_efficiency(ap, fps, watts)
