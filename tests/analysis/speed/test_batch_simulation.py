"""What an hour of video costs, and batches on workers that are not at hand."""

from __future__ import annotations

import math

import pytest

from ehrpose.analysis.speed.batch_simulation import Fleet, cost_table, fleet_table, simulate
from ehrpose.analysis.speed.batch_stages import STAGES, Costs, measure_costs
from ehrpose.batch.options import BatchOptions

COSTS = Costs(dict(zip(STAGES, (2.0, 100.0, 1000.0, 1.0, 3.0))), 5.0, 0.01, 1e9, 1e6, 1e7)


def test_one_worker_does_the_sum_of_all_items():
    found = simulate(COSTS, 10, Fleet(1, spread=0.0))
    assert found.items == 1000
    assert found.work_s == pytest.approx(5 + 10 * 1101)
    assert (found.look_s, found.join_s, found.lost_s, found.deaths) == (20, 30, 0, 0)
    assert found.seconds == pytest.approx(found.look_s + found.work_s + found.join_s)


def test_workers_share_the_items_and_one_process_looks_and_joins():
    found = simulate(COSTS, 10, Fleet(100, spread=0.0))
    assert found.work_s == pytest.approx(5 + 10 * 1101 / 100)
    assert found.look_s + found.join_s == 50
    assert simulate(COSTS, 10, Fleet(100, joiners=4)).join_s == 7.5


def test_more_workers_than_items_do_not_help():
    assert simulate(COSTS, 0.1, Fleet(10)).seconds == simulate(COSTS, 0.1, Fleet(1000)).seconds


def test_the_work_of_workers_that_are_taken_away_is_done_again():
    calm = simulate(COSTS, 100, Fleet(20))
    found = simulate(COSTS, 100, Fleet(20, boot_s=60, lifetime_h=0.5))
    assert found.busy_s == calm.busy_s
    # 20 workers for about 5,700 s lose one in 1,800 s each, half an item of 11 s at a time.
    expected = found.work_s * 20 / 1800
    assert 0.7 * expected < found.deaths < 1.3 * expected
    assert 0.3 * 11 < found.lost_s / found.deaths < 0.7 * 11
    assert found.work_s > calm.work_s + 0.5 * 60 * found.deaths / 20


def test_a_line_that_all_share_sets_the_pace():
    found = simulate(COSTS, 100, Fleet(1000, bandwidth=1e8))
    assert found.work_s == pytest.approx(100 * 1e9 / 1e8, rel=0.02)
    assert simulate(COSTS, 100, Fleet(1000)).work_s < 0.3 * found.work_s


def test_the_same_seed_gives_the_same_batch():
    fleet = Fleet(7, lifetime_h=0.1)
    assert simulate(COSTS, 3, fleet, 1) == simulate(COSTS, 3, fleet, 1) != simulate(COSTS, 3, fleet, 2)


@pytest.mark.parametrize(
    "options",
    [
        {"workers": 0},
        {"workers": 1, "joiners": 0},
        {"workers": 1, "spread": -1},
        {"workers": 1, "lifetime_h": 0},
    ],
)
def test_fleets_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="expected at least one of `workers`"):
        Fleet(**options)


def test_workers_that_live_shorter_than_an_item_would_never_end():
    with pytest.raises(ValueError, match="take shorter pieces"):
        simulate(COSTS, 1, Fleet(1, lifetime_h=0.001))
    with pytest.raises(ValueError, match="positive number of hours"):
        simulate(COSTS, math.nan, Fleet(1))


def test_costs_are_those_of_a_batch(exported_small):
    costs = measure_costs(
        BatchOptions(str(exported_small().path), device="cpu", piece_frames=8), 1.0, (96, 64)
    )
    assert costs.item_hours == pytest.approx(1 / 3600 / 3)  # 25 frames in three pieces
    assert all(costs.seconds[name] > 0 for name in STAGES)
    assert costs.seconds["find"] > costs.seconds["store"]
    assert min(costs.start, costs.video_bytes, costs.part_bytes, costs.table_bytes) > 0
    lines = cost_table(costs).splitlines()
    assert len(lines) == 2 + len(STAGES) + 1
    shares = [float(line.split("|")[3]) for line in lines[2:-1]]
    assert sum(shares) == pytest.approx(1, abs=0.01)
    rows = fleet_table(costs, 2.0, [Fleet(1), Fleet(4)]).splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["1", "4"]


def test_lengths_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="expected positive numbers"):
        measure_costs(BatchOptions(), 0.0, (96, 64))
