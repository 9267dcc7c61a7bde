"""Tracking metrics against cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.evaluation.tracking_metric import TrackingMetric, TruePeople, match_oks
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People

pytest.importorskip("trackeval", reason="trackeval is in the extras 'tracking' and 'tests'")

POSE = np.array([[0, 0], [-10, 20], [10, 20], [-5, 60], [5, 60]], np.float32)
PLACES = {1: (50, 50), 2: (150, 50), 3: (250, 50)}


def truth(*who, ignored=None):
    keypoints = np.array([POSE + PLACES[i] for i in who], np.float32).reshape(-1, 5, 2)
    ids = np.array(who, int)
    return TruePeople(
        keypoints, np.full((len(who), 5), 2), ids, None if ignored is None else np.isin(ids, ignored)
    )


def people(*where):
    """Return people found at the positions of true ones, or at other (x, y)."""
    keypoints = np.array([POSE + PLACES.get(w, w) for w in where], np.float32).reshape(-1, 5, 2)
    return People(keypoints, np.ones(keypoints.shape[:2], np.float32), np.ones(len(where), np.float32))


@pytest.fixture
def metric(five_keypoints):
    return TrackingMetric(five_keypoints)


def test_perfect_tracking_is_one(metric):
    for _ in range(4):
        metric.add("a", truth(1, 2), people(2, 1), np.array([7, 5]))
    numbers = metric.compute()
    assert numbers == {
        "IDF1": 1.0, "MOTA": 1.0, "HOTA": pytest.approx(1.0), "switches": 0, "fragmentations": 0, "misses": 0,
        "false_people": 0, "true_people": 8,
    }  # fmt: skip


def test_a_switch_half_way(metric):
    # One person, 10 frames; the id changes after 6.
    for i in range(10):
        metric.add("a", truth(1), people(1), np.array([0 if i < 6 else 1]))
    numbers = metric.compute()
    assert numbers["switches"] == 1
    assert numbers["MOTA"] == pytest.approx(1 - 1 / 10)
    # IDTP 6, IDFP 4, IDFN 4.
    assert numbers["IDF1"] == pytest.approx(2 * 6 / (2 * 6 + 4 + 4))
    assert numbers["fragmentations"] == 0


def test_two_people_exchange_ids(metric):
    for i in range(8):
        metric.add("a", truth(1, 2), people(1, 2), np.array([0, 1] if i < 4 else [1, 0]))
    numbers = metric.compute()
    assert numbers["switches"] == 2
    assert numbers["IDF1"] == pytest.approx(0.5)
    assert numbers["MOTA"] == pytest.approx(1 - 2 / 16)


def test_misses_and_false_people(metric):
    # Frame 2 misses person 1; frame 3 has a false person.
    metric.add("a", truth(1, 2), people(1, 2), np.array([0, 1]))
    metric.add("a", truth(1, 2), people(2), np.array([1]))
    metric.add("a", truth(1, 2), people(1, 2, (50, 400)), np.array([0, 1, 2]))
    numbers = metric.compute()
    assert (numbers["misses"], numbers["false_people"], numbers["true_people"]) == (1, 1, 6)
    assert numbers["MOTA"] == pytest.approx(1 - 2 / 6)
    assert numbers["IDF1"] == pytest.approx(2 * 5 / (2 * 5 + 1 + 1))
    assert numbers["fragmentations"] == 1
    assert numbers["switches"] == 0


def test_people_without_an_id_are_not_found(metric):
    metric.add("a", truth(1, 2), people(1, 2), np.array([-1, 3]))
    metric.add("a", truth(), people((9, 9)), np.array([-1]))
    assert metric.compute()["misses"] == 1
    assert metric.compute()["false_people"] == 0


def test_ignored_people_may_be_found_or_not(metric):
    metric.add("a", truth(1, 2, ignored=[2]), people(1, 2), np.array([0, 1]))
    metric.add("a", truth(1, 2, ignored=[2]), people(1), np.array([0]))
    all_hidden = truth(1, 3)
    all_hidden.visible[1] = 0
    metric.add("a", all_hidden, people(1, 3), np.array([0, 8]))
    numbers = metric.compute()
    assert (numbers["MOTA"], numbers["IDF1"], numbers["true_people"]) == (1.0, 1.0, 3)


def test_people_who_count_come_before_ignored_ones(metric):
    both = truth(1, 2, ignored=[2])
    both.keypoints[1] = both.keypoints[0] + 0.5
    metric.add("a", both, people((50.5, 50.5)), np.array([0]))
    assert metric.compute()["misses"] == 0


def test_ids_are_compared_within_a_video_only(metric):
    metric.add("a", truth(1), people(1), np.array([0]))
    metric.add("b", truth(1), people(1), np.array([5]))
    assert metric.compute()["switches"] == 0
    assert metric.compute()["IDF1"] == 1


def test_no_people_true_or_found(metric):
    metric.add("empty", truth(), people(), np.zeros(0, int))
    metric.add("missed", truth(1), people(), np.zeros(0, int))
    metric.add("false", truth(), people(1), np.zeros(1, int))
    numbers = metric.compute()
    assert (numbers["misses"], numbers["false_people"], numbers["IDF1"]) == (1, 1, 0)
    assert numbers["MOTA"] == -1


def test_oks_decides_who_may_be_the_same(five_keypoints):
    for min_oks, misses in ((0.5, 0), (0.9, 1)):
        metric = TrackingMetric(five_keypoints, min_oks)
        metric.add("a", truth(1), people((53, 50)), np.array([0]))
        assert 0.5 < match_oks(truth(1), people((53, 50)), metric.keypoints.sigmas)[0, 0] < 0.9
        assert metric.compute()["misses"] == misses


def test_oks_is_cocos(five_keypoints):
    sigmas = KeypointMeta.build(five_keypoints).sigmas
    true, found = truth(1), people(1)
    found.keypoints[0, 0] += (3, 4)
    found.keypoint_scores[0, 4] = 0
    true.visible[0, 3] = 0
    area = 0.53 * 20 * 60
    expected = (np.exp(-25 / (2 * area * (2 * 0.026) ** 2)) + 1 + 1 + 0) / 4
    assert match_oks(true, found, sigmas)[0, 0] == pytest.approx(expected, rel=1e-5)


def test_broken_keypoints_do_not_count(metric):
    found = people(1)
    found.keypoints[0, 0] = np.nan
    metric.add("a", truth(1), found, np.array([0]))
    assert metric.compute()["misses"] == 0


def test_bad_input_is_named(metric, five_keypoints):
    with pytest.raises(ValueError, match=r"an id occurs twice in a frame: \[4, 4\]"):
        metric.add("a", truth(1, 2), people(1, 2), np.array([4, 4]))
    with pytest.raises(ValueError, match=r"found people: expected keypoints \(N, 5, 2\)"):
        metric.add("a", truth(1), People.empty(17), np.zeros(0))
    with pytest.raises(ValueError, match="no frames to evaluate"):
        metric.compute()
    with pytest.raises(ValueError, match="min_oks: expected"):
        TrackingMetric(five_keypoints, 0)
