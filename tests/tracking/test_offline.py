"""Smoothing of recorded videos: gaps are filled, nothing lags, people keep their ids."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import make_smoothing_spline

from ehrpose.structures import People
from ehrpose.tracking import OneEuroFilter, offline
from ehrpose.tracking.offline import FILLED, MISSING, OBSERVED, OfflineSmoother

FPS = 30.0
TIMES = np.arange(90) / FPS


def wave(times=TIMES, hertz=0.8):
    """(F, 1, 2) of a keypoint that swings by 40 px."""
    angle = 2 * np.pi * hertz * times
    return np.stack([100 + 40 * np.sin(angle), 200 + 40 * np.cos(angle)], axis=-1)[:, None]


def smoothed(points, present=None, times=TIMES, **options):
    present = np.ones(points.shape[:2], bool) if present is None else present
    return OfflineSmoother(**options).smooth(times, points, present)


def test_it_is_the_smoothing_spline(rng, monkeypatch):
    """With all detections trusted alike, up to the discretisation, and away from the ends."""
    monkeypatch.setattr(offline, "_ROUNDS", 1)
    times = np.cumsum(rng.uniform(0.5, 1.5, 80)) / 60
    points = wave(times) + rng.normal(0, 1, (80, 1, 2))
    found = smoothed(points, times=times, cutoff=2.0).points[:, 0]
    wanted = make_smoothing_spline(times, points[:, 0], lam=(4 * np.pi) ** -4 * 60)(times)
    assert np.linalg.norm(found - wanted, axis=1)[10:-10].mean() < 0.15
    assert np.linalg.norm(found - points[:, 0], axis=1)[10:-10].mean() > 1


def test_half_of_the_cutoff_frequency_passes():
    times = np.arange(600) / 60
    points = wave(times, hertz=3.0)
    amplitude = np.ptp(smoothed(points, times=times, cutoff=3.0).points[200:400, 0], axis=0) / 2
    np.testing.assert_allclose(amplitude, 20, rtol=0.05)


def test_nothing_lags_and_the_error_is_well_below_the_causal_filter(rng):
    truth = wave()
    points = truth + rng.normal(0, 2, truth.shape)
    causal = OneEuroFilter()
    online = np.stack(
        [
            causal.update(p[None], np.ones((1, 1), bool), t, np.array([100.0]))[0]
            for p, t in zip(points, TIMES)
        ]
    )
    past_and_future = smoothed(points).points

    def error(found):
        return np.linalg.norm(found - truth, axis=2)[10:-10].mean()

    def lag(found):
        """Seconds by which the true curve must be delayed to fit best."""
        delays = np.linspace(-0.1, 0.1, 81)
        return delays[np.argmin([np.abs(wave(TIMES - delay) - found)[10:-10].sum() for delay in delays])]

    assert error(past_and_future) < 0.6 * error(online)
    assert abs(lag(past_and_future)) < 0.005
    assert lag(online) > 0.01


def test_gaps_are_filled_up_to_the_limit_and_marked():
    points, present = wave(), np.ones((90, 1), bool)
    present[20:30] = False  # 11 frames from detection to detection: 0.37 s
    present[50:70] = False  # 0.7 s
    present[:3] = False
    points[~present] = 1e6
    path = smoothed(points, present, max_gap=0.5)
    status = path.status[:, 0]
    assert (status[20:30] == FILLED).all()
    assert (status[50:70] == MISSING).all()
    assert (status[:3] == MISSING).all()
    assert (status[3:20] == OBSERVED).all()
    np.testing.assert_allclose(path.points[20:30, 0], wave()[20:30, 0], atol=4)
    assert not path.points[50:70].any()


def test_a_wild_detection_hardly_pulls(rng):
    truth = wave()
    points = truth + rng.normal(0, 1, truth.shape)
    points[40] += 300
    away = np.linalg.norm(smoothed(points).points[40] - truth[40])
    assert away < 15


@pytest.mark.parametrize("count", [1, 2, 3])
def test_short_paths_stay(count):
    points = wave()[:count]
    path = smoothed(points, times=TIMES[:count])
    np.testing.assert_allclose(path.points, points, atol=1.0)
    assert (path.status == OBSERVED).all()


def test_perfect_motion_stays_as_it_is():
    steady = np.stack([TIMES * 50, 10 - TIMES * 20], axis=-1)[:, None]
    np.testing.assert_allclose(smoothed(steady).points, steady, atol=1e-6)


def crowd(rng):
    """Two people over 30 frames; the second is missed in frames 10 to 14 and a third is seen once, without an id."""
    frames, ids = [], []
    for f in range(30):
        rows = [np.repeat(wave()[f], 2, 0), np.repeat(wave()[f] + 300, 2, 0)]
        numbers = [4, 7]
        if 10 <= f < 15:
            rows, numbers = rows[:1], numbers[:1]
        if f == 20:
            rows, numbers = [np.full((2, 2), 50.0), *rows], [-1, *numbers]
        points = (np.array(rows) + rng.normal(0, 1, (len(rows), 2, 2))).astype(np.float32)
        scores = np.full(points.shape[:2], 0.5, np.float32)
        scores[:, 1] = 0.0 if f in (5, 6) else 0.8
        frames.append(People(points, scores, np.full(len(rows), 0.6, np.float32)))
        ids.append(np.array(numbers))
    return frames, ids


def test_people_keep_places_ids_and_scores_and_gaps_are_filled(rng):
    frames, ids = crowd(rng)
    before = [people.keypoints.copy() for people in frames]
    people, numbers = OfflineSmoother().smooth_video(TIMES[:30], frames, ids)
    assert [found.tolist() for found in numbers] == [[4, 7]] * 20 + [[-1, 4, 7]] + [[4, 7]] * 9
    added = people[12]
    np.testing.assert_allclose(added.keypoints[1], np.repeat(wave()[12] + 300, 2, 0), atol=4)
    assert added.filled.tolist() == [[False, False], [True, True]]
    np.testing.assert_allclose(added.keypoint_scores[1], [0.5, 0.8])
    assert added.scores[1] == pytest.approx(0.6)
    assert people[5].filled.tolist() == [[False, True], [False, True]]
    np.testing.assert_allclose(people[5].keypoint_scores[:, 1], 0.8)
    np.testing.assert_array_equal(people[20].keypoints[0], before[20][0])  # has no id
    for found, kept in zip(frames, before):
        np.testing.assert_array_equal(found.keypoints, kept)  # the given ones are not changed


def test_no_people_at_all():
    frames = [People.empty(3) for _ in range(4)]
    people, ids = OfflineSmoother().smooth_video(TIMES[:4], frames, [np.zeros(0, np.int64)] * 4)
    assert [len(found) for found in people] == [0] * 4
    assert [len(found) for found in ids] == [0] * 4


@pytest.mark.parametrize(
    ("options", "message"),
    [({"cutoff": 0}, "cutoff: expected a frequency above 0 Hz, got 0"),
     ({"max_gap": -1}, "max_gap: expected at least 0 seconds, got -1")],
)  # fmt: skip
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        OfflineSmoother(**options)


def test_wrong_input_is_named():
    smoother = OfflineSmoother()
    with pytest.raises(ValueError, match="expected times that increase"):
        smoother.smooth(TIMES[[0, 2, 1]], wave()[:3], np.ones((3, 1), bool))
    with pytest.raises(
        ValueError, match=r"expected times \(F,\), points \(F, K, 2\) and present \(F, K\), got"
    ):
        smoother.smooth(TIMES, wave()[:3], np.ones((3, 1), bool))
    with pytest.raises(ValueError, match="expected as many times as frames and ids, got 2, 1, 1"):
        smoother.smooth_video(TIMES[:2], [People.empty(1)], [np.zeros(0)])
