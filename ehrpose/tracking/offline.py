"""Smoothing of recorded videos: both the past and the future of a keypoint are known (no torch).

A smoothing spline for each coordinate of each keypoint: it minimises the squared distance to the detections plus the
squared second derivative over time, so it lags neither in motion nor over gaps, and works with uneven frame times.
Source: Reinsch 1967, Smoothing by Spline Functions, Numer. Math. 10; robust weights after Huber 1964. Written here, as
SciPy's make_smoothing_spline solves one curve at a time and devices do without SciPy.

Axes: F frames, K keypoint types, N people of a frame.
"""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from ehrpose.structures import People

__all__ = ["FILLED", "MISSING", "OBSERVED", "OfflineSmoother", "Path"]

MISSING, OBSERVED, FILLED = 0, 1, 2
# Detections count less from this many typical deviations on.
_HUBER = 1.5
_ROUNDS = 4


class Path(NamedTuple):
    """The keypoints of one person over time.

    Attributes:
        points: (F, K, 2) float64 px.
        status: (F, K) uint8: OBSERVED, FILLED, or MISSING, where the point means nothing.
    """

    points: np.ndarray
    status: np.ndarray


class OfflineSmoother:
    """Fills gaps and smooths without delay, for videos whose people are all known.

    Args:
        cutoff: Frequency that is halved, Hz: motion is slower, noise is faster.
        max_gap: Seconds; longer gaps are not filled, and nothing is smoothed across them.

    Raises:
        ValueError: A parameter is out of range.
    """

    def __init__(self, cutoff: float = 3.0, max_gap: float = 0.5) -> None:
        if not 0 < cutoff < np.inf:
            raise ValueError(f"cutoff: expected a frequency above 0 Hz, got {cutoff}")
        if not 0 <= max_gap < np.inf:
            raise ValueError(f"max_gap: expected at least 0 seconds, got {max_gap}")
        self.cutoff, self.max_gap = float(cutoff), float(max_gap)

    def smooth(self, times: np.ndarray, points: np.ndarray, present: np.ndarray) -> Path:
        """Smooth the keypoints of one person.

        Args:
            times: (F,) seconds, increasing.
            points: (F, K, 2) px.
            present: (F, K) bool, which keypoints were found.

        Raises:
            ValueError: Shapes do not match, or the times do not increase.
        """
        times, points = np.asarray(times, np.float64), np.asarray(points, np.float64)
        present = np.asarray(present, bool)
        if points.shape != (*present.shape, 2) or times.shape != present.shape[:1]:
            raise ValueError(
                f"expected times (F,), points (F, K, 2) and present (F, K), got {times.shape}, {points.shape} and "
                f"{present.shape}"
            )
        if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
            raise ValueError("expected times that increase")
        present = present & np.isfinite(points).all(axis=2)
        status = np.where(present, OBSERVED, MISSING).astype(np.uint8)
        if not present.any():
            return Path(np.zeros_like(points), status)
        bridged = _bridged(times, present, self.max_gap)
        status[bridged] = FILLED
        result = np.where(present[..., None], points, 0.0)
        known = present | bridged
        for k in range(present.shape[1]):  # each keypoint has gaps of its own
            edges = np.flatnonzero(np.diff(np.concatenate([[0], known[:, k].astype(int), [0]])))
            for start, end in edges.reshape(-1, 2).tolist():
                part = slice(start, end)
                result[part, k] = self._spline(times[part], points[part, k], present[part, k])
        return Path(result, status)

    def smooth_video(
        self, times: Sequence[float], frames: Sequence[People], ids: Sequence[np.ndarray]
    ) -> Tuple[List[People], List[np.ndarray]]:
        """Smooth everyone in a video, and fill gaps in keypoints and people.

        Args:
            times: F frame times, seconds, increasing.
            frames: The people of each frame.
            ids: For each frame (N,), the track ids; people with an id below 0 stay as they are.

        Returns:
            The people of each frame and their ids. In a gap a person is added after the others, with a score between
            those at its ends. ``People.filled`` is true for all keypoints that were filled.

        Raises:
            ValueError: The lengths differ, or the times do not increase.
        """
        if not len(times) == len(frames) == len(ids):
            raise ValueError(
                f"expected as many times as frames and ids, got {len(times)}, {len(frames)}, {len(ids)}"
            )
        seconds = np.asarray(times, np.float64)
        places: Dict[int, List[Tuple[int, int]]] = {}
        for f, numbers in enumerate(ids):
            for n, number in enumerate(np.asarray(numbers).tolist()):
                if number >= 0:
                    places.setdefault(number, []).append((f, n))
        changed = [_Frame(people, np.asarray(numbers, np.int64)) for people, numbers in zip(frames, ids)]
        for number in sorted(places):
            rows = np.array(places[number])
            first, last = rows[0, 0], rows[-1, 0] + 1
            found = np.full(last - first, -1)
            found[rows[:, 0] - first] = rows[:, 1]
            points, scores, totals = _stacked(frames[first:last], found)
            path = self.smooth(seconds[first:last], points, scores > 0)
            scores = _interpolated(seconds[first:last], scores)
            totals = _interpolated(seconds[first:last], totals[:, None])[:, 0]
            for f, n in enumerate(found.tolist()):
                if path.status[f].any():
                    at = [row[f] for row in (path.points, path.status, scores)]
                    changed[first + f].put(n, number, *at, float(totals[f]))
        return [frame.people() for frame in changed], [frame.ids for frame in changed]

    def _spline(self, times: np.ndarray, values: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return the robust smoothing spline (F, 2) of one keypoint, at all times; the ends are present."""
        if len(times) < 3:
            return values
        steps = np.diff(times)
        stiffness = (2 * np.pi * self.cutoff) ** -4 * _bending(steps)
        spans = np.empty(len(times))
        spans[0], spans[-1], spans[1:-1] = steps[0], steps[-1], 0.5 * (steps[:-1] + steps[1:])
        values = np.where(present[:, None], values, 0.0)
        trust = present.astype(np.float64)
        for _ in range(_ROUNDS):
            smoothed = _solve(stiffness, trust * spans, values)
            apart = np.linalg.norm(values - smoothed, axis=1)
            typical = np.median(apart[present])
            with np.errstate(divide="ignore", invalid="ignore"):
                trust = np.where(present, np.minimum(1.0, _HUBER * typical / apart), 0.0)
            trust = np.where(present & ~(apart > 0), 1.0, trust)
        return smoothed


class _Frame:
    """The people of a frame while tracks are put back into it."""

    def __init__(self, people: People, ids: np.ndarray) -> None:
        self.ids = ids
        self._tags = people.tags
        self._points = [people.keypoints.copy()]
        self._scores, self._totals = [people.keypoint_scores.copy()], [people.scores.copy()]
        filled = (
            np.zeros(people.keypoint_scores.shape, bool) if people.filled is None else people.filled.copy()
        )
        self._filled = [filled]

    def put(
        self, n: int, number: int, points: np.ndarray, status: np.ndarray, scores: np.ndarray, total: float
    ) -> None:
        """Replace person ``n``, or add one for -1."""
        known, filled = status != MISSING, status == FILLED
        points, scores = np.where(known[:, None], points, 0), np.where(known, scores, 0)
        if n < 0:
            self._points.append(points[None].astype(np.float32))
            self._scores.append(scores[None].astype(np.float32))
            self._totals.append(np.array([total], np.float32))
            self._filled.append(known[None])
            self.ids = np.append(self.ids, number)
            return
        changed = known | (self._scores[0][n] > 0)
        self._points[0][n] = np.where(changed[:, None], points, self._points[0][n])
        self._scores[0][n] = np.where(filled, scores, self._scores[0][n])
        self._filled[0][n] |= filled

    def people(self) -> People:
        tags = self._tags
        if tags is not None and len(self._points) > 1:
            tags = np.concatenate([tags, np.zeros((len(self._points) - 1, tags.shape[1]), tags.dtype)])
        parts = (self._points, self._scores, self._totals)
        points, scores, totals = (np.concatenate(part) for part in parts)
        return People(points, scores, totals, tags, np.concatenate(self._filled))


def _stacked(frames: Sequence[People], found: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return points (F, K, 2), scores (F, K) and totals (F,) of a person; scores are 0 where it was not found."""
    count, kinds = len(frames), frames[0].keypoints.shape[1]
    points, scores, totals = np.zeros((count, kinds, 2)), np.zeros((count, kinds)), np.zeros(count)
    for f, n in enumerate(found.tolist()):
        if n >= 0:
            points[f], scores[f] = frames[f].keypoints[n], frames[f].keypoint_scores[n]
            totals[f] = frames[f].scores[n]
    return points, scores, totals


def _interpolated(times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return (F, K) values with those that are 0 interpolated linearly between the others."""
    result = values.copy()
    for k in range(values.shape[1]):
        known = values[:, k] > 0
        if known.any() and not known.all():
            result[~known, k] = np.interp(times[~known], times[known], values[known, k])
    return result


def _bridged(times: np.ndarray, present: np.ndarray, max_gap: float) -> np.ndarray:
    """Return (F, K) bool: missing, between two detections at most ``max_gap`` apart beyond one frame."""
    count = len(times)
    at = np.where(present, np.arange(count)[:, None], -1)
    before = np.maximum.accumulate(at, axis=0)
    at = np.where(present, np.arange(count)[:, None], count)
    after = np.minimum.accumulate(at[::-1], axis=0)[::-1]
    inside = (before >= 0) & (after < count) & ~present
    low, high = np.where(inside, before, 0), np.where(inside, after, 0)
    return np.asarray(inside & (times[high] - times[low] <= max_gap + 1e-9))


def _bending(steps: np.ndarray) -> np.ndarray:
    """Return (3, F) bands, the diagonal and the two above it, of the matrix of the integrated squared acceleration."""
    count = len(steps) + 1
    before, after = steps[:-1], steps[1:]
    span = 0.5 * (before + after)
    # Second differences: a x[i-1] + b x[i] + c x[i+1], each over the time that it stands for.
    a, c = 1 / (before * span), 1 / (after * span)
    b = -(a + c)
    bands = np.zeros((3, count))
    for offset, factor in enumerate((a, b, c)):
        bands[0, offset : offset + len(a)] += span * factor**2
    bands[1, : len(a)] += span * a * b
    bands[1, 1 : 1 + len(a)] += span * b * c
    bands[2, : len(a)] += span * a * c
    return bands


def _solve(bands: np.ndarray, weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return x (F, 2) with (diag(weights) + bands) x = weights * values, by the LDL' factors of the banded matrix."""
    diagonal = (bands[0] + weights).tolist()
    first, second = bands[1].tolist(), bands[2].tolist()
    count = len(diagonal)
    d, l1, l2 = [0.0] * count, [0.0] * count, [0.0] * count
    y = (weights[:, None] * values).tolist()
    for i in range(count):
        value = diagonal[i]
        if i >= 1:
            value -= l1[i - 1] ** 2 * d[i - 1]
            y[i] = [v - l1[i - 1] * u for v, u in zip(y[i], y[i - 1])]
        if i >= 2:
            value -= l2[i - 2] ** 2 * d[i - 2]
            y[i] = [v - l2[i - 2] * u for v, u in zip(y[i], y[i - 2])]
        d[i] = value
        if i + 1 < count:
            l1[i] = (first[i] - (l1[i - 1] * d[i - 1] * l2[i - 1] if i >= 1 else 0.0)) / value
        if i + 2 < count:
            l2[i] = second[i] / value
    for i in reversed(range(count)):
        x = [v / d[i] for v in y[i]]
        if i + 1 < count:
            x = [v - l1[i] * u for v, u in zip(x, y[i + 1])]
        if i + 2 < count:
            x = [v - l2[i] * u for v, u in zip(x, y[i + 2])]
        y[i] = x
    return np.array(y)
