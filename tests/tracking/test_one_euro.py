from __future__ import annotations

import numpy as np
import pytest

from ehrpose.tracking import OneEuroFilter

FPS = 25.0


def run(filter_, paths, present=None, size=100.0, shifts=None):
    """Filter paths (T, K, 2) of one person, frame by frame."""
    present = np.ones(paths.shape[:2], bool) if present is None else present
    shift = None if shifts is None else np.asarray(shifts, float)[None]
    out = [
        filter_.update(points[None], seen[None], i / FPS, np.array([size]), None if i == 0 else shift)
        for i, (points, seen) in enumerate(zip(paths, present))
    ]
    return np.concatenate(out)


def casiez(values, rate, min_cutoff, beta, d_cutoff):
    """The filter of one number, as in the paper's listing; speed in units of 100 px."""

    def alpha(cutoff):
        return 1 / (1 + rate / (2 * np.pi * cutoff))

    out, last, speed = [values[0]], values[0], 0.0
    for value in values[1:]:
        speed = alpha(d_cutoff) * (value - last) * rate + (1 - alpha(d_cutoff)) * speed
        weight = alpha(min_cutoff + beta * abs(speed) / 100.0)
        last = weight * value + (1 - weight) * last
        out.append(last)
    return np.array(out)


def test_it_equals_the_papers_recursion(rng):
    paths = np.cumsum(rng.normal(0, 5, (40, 3, 2)), axis=0)
    out = run(OneEuroFilter(1.2, 0.7, 0.9), paths)
    for k in range(3):
        for axis in range(2):
            expected = casiez(paths[:, k, axis], FPS, 1.2, 0.7, 0.9)
            np.testing.assert_allclose(out[:, k, axis], expected, rtol=1e-10)


def test_jitter_of_a_person_at_rest_is_damped(rng):
    paths = 50 + rng.normal(0, 1, (200, 5, 2))
    out = run(OneEuroFilter(min_cutoff=1.0, beta=0.5), paths)
    assert out[20:].std(axis=0).max() < 0.5 * paths[20:].std(axis=0).min()


def test_a_larger_beta_lags_less():
    paths = np.linspace(0, 400, 50)[:, None, None] * np.ones((1, 1, 2))
    lags = [abs(run(OneEuroFilter(1.0, beta), paths)[-1] - paths[-1]).max() for beta in (0.0, 1.0, 10.0)]
    assert lags[0] > 2 * lags[1] > 4 * lags[2]


def test_a_known_shift_does_not_lag():
    paths = np.linspace(0, 400, 50)[:, None, None] * np.ones((1, 1, 2))
    out = run(OneEuroFilter(1.0, 0.0), paths, shifts=paths[1, 0] - paths[0, 0])
    np.testing.assert_allclose(out, paths, atol=1e-9)


def test_results_scale_with_the_picture(rng):
    paths = np.cumsum(rng.normal(0, 5, (30, 4, 2)), axis=0)
    small, large = run(OneEuroFilter(), paths, size=80.0), run(OneEuroFilter(), 3 * paths, size=240.0)
    np.testing.assert_allclose(large, 3 * small)


def test_a_keypoint_that_comes_back_restarts():
    paths = np.zeros((12, 2, 2))
    paths[8:] = 90.0
    present = np.ones((12, 2), bool)
    present[4:8, 1] = False
    out = run(OneEuroFilter(1.0, 0.0, max_gap=0.1), paths, present)
    assert (out[8, 1] == 90).all()  # gone for 0.2 s: restarts where it is
    assert (out[8, 0] < 60).all()  # always there: still smoothed
    tolerant = run(OneEuroFilter(1.0, 0.0, max_gap=1.0), paths, present)
    assert (tolerant[8, 1] < 90).all()


def test_missing_keypoints_are_returned_and_leave_no_trace():
    paths = np.full((6, 1, 2), 10.0)
    paths[3] = np.nan
    present = np.array([[True]] * 3 + [[False]] + [[True]] * 2)
    out = run(OneEuroFilter(), paths, present)
    assert np.isnan(out[3]).all()
    np.testing.assert_allclose(out[[0, 1, 2, 4, 5]], 10.0)


def test_rows_can_come_and_go():
    smoother = OneEuroFilter(1.0, 0.0)
    first, second = np.zeros((1, 1, 2)), np.full((1, 1, 2), 50.0)
    seen = np.ones((2, 1), bool)
    smoother.update(first, seen[:1], 0.0, np.ones(1))
    smoother.update(np.concatenate([first, second]), seen, 0.1, np.ones(2))
    smoother.select(np.array([False, True]))
    out = smoother.update(second + 10, seen[:1], 0.2, np.ones(1))
    assert 50 < out[0, 0, 0] < 60
    with pytest.raises(ValueError, match=r"expected at least \(1, 1, 2\)"):
        smoother.update(np.zeros((0, 1, 2)), np.zeros((0, 1), bool), 0.3, np.zeros(0))


def test_time_must_increase():
    smoother = OneEuroFilter()
    point, seen = np.zeros((1, 1, 2)), np.ones((1, 1), bool)
    smoother.update(point, seen, 1.0, np.ones(1))
    for timestamp in (1.0, 0.5, np.nan):
        with pytest.raises(ValueError, match=r"not later than the last one, 1\.0 s"):
            smoother.update(point, seen, timestamp, np.ones(1))
    smoother.reset()
    smoother.update(point, seen, 0.5, np.ones(1))


@pytest.mark.parametrize(
    "options", [{"min_cutoff": 0}, {"beta": -1}, {"d_cutoff": float("nan")}, {"max_gap": -0.1}]
)
def test_bad_parameters_are_named(options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected"):
        OneEuroFilter(**options)
