"""Pictures of HLS come in pieces and are spread over time; the times here are simulated."""

from __future__ import annotations

import numpy as np
import pytest

from ehrpose.media.live.opening import PieceClock


def shown(pieces, length=2.0, fps=25, fetch=0.2, hiccups=()):
    """Return when each picture is shown, and how far that is behind the end of its piece being made, seconds.

    Pieces are asked for one after the other, as FFmpeg does, once they are there and the one before was shown.
    """
    clock, now, times, lags = PieceClock(), length, [], []
    for piece in range(pieces):
        now = max(now, (piece + 1) * length) + fetch + dict(hiccups).get(piece, 0)
        for number in range(round(length * fps)):
            seconds = piece * length + number / fps
            now += clock.early(seconds, now)
            times.append(now)
            lags.append(now - seconds)
    return np.array(times), np.array(lags)


def test_pictures_are_spread_over_the_time_of_their_piece():
    times, _ = shown(20)
    steps = np.diff(times)
    assert steps.max() <= 0.5 + 2 * 0.05 + 0.05, "between two pieces"
    assert np.median(steps) == pytest.approx(0.04 * 0.95, rel=0.02)
    assert (steps < 0.001).mean() < 0.3, "few come at once"


@pytest.mark.parametrize("fetch", [0.0, 0.2, 0.5])
def test_it_does_not_fall_behind(fetch):
    _, lags = shown(600, fetch=fetch)
    assert lags[-50:].max() <= 2.0 + fetch + 0.6
    assert lags[-50:].max() <= lags[:50].max() + 0.6


def test_a_long_delay_is_made_up_for():
    _, lags = shown(400, hiccups=[(10, 7.0)])
    assert lags[11 * 50 : 12 * 50].max() > 6
    assert lags[-50:].max() <= 2.9


def test_pieces_that_are_missing_are_not_waited_for():
    clock = PieceClock()
    for number in range(50):
        clock.early(number / 25, 100 + number / 25)
    assert clock.early(42.0, 102.0) == 0
    assert clock.early(42.04, 102.0) == pytest.approx(0.038)
    assert clock.early(3.0, 103.0) == 0, "a stream that begins again"


def test_a_slow_stream_is_spread_too():
    clock = PieceClock()
    assert clock.early(0.0, 50.0) == 0
    assert clock.early(1.0, 50.0) == pytest.approx(0.95)
