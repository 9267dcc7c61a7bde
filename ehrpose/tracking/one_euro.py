"""The 1 euro filter: smooths a slow keypoint much, a fast one little.

Source: Casiez, Roussel, Vogel 2012, 1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive
Systems, CHI. Over arrays, since published packages filter one number at a time. Speeds are divided by the size of the
person, so parameters fit any resolution.
"""

from __future__ import annotations

from typing import Optional, Tuple, Union

import numpy as np


class OneEuroFilter:
    """A filter for each coordinate of each keypoint of M people.

    The cut-off frequency of a coordinate is ``min_cutoff + beta * speed`` Hz, its speed in person sizes a second,
    itself filtered at ``d_cutoff``. Set ``min_cutoff`` with a person at rest (lower: less jitter), then ``beta`` with
    one that moves (higher: less lag).

    Args:
        min_cutoff: Cut-off frequency at rest, Hz, over 0.
        beta: Growth of the cut-off frequency with speed, 0 or greater.
        d_cutoff: Cut-off frequency of the speed, Hz, over 0.
        max_gap: Seconds; a keypoint that was missing for longer starts anew.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self, min_cutoff: float = 3.0, beta: float = 4.0, d_cutoff: float = 2.0, max_gap: float = 0.1
    ) -> None:
        for name, value in (("min_cutoff", min_cutoff), ("d_cutoff", d_cutoff)):
            if not 0 < value < np.inf:
                raise ValueError(f"{name}: wanted a frequency over 0 Hz, got {value}")
        for name, value in (("beta", beta), ("max_gap", max_gap)):
            if not 0 <= value < np.inf:
                raise ValueError(f"{name}: wanted a number of at least 0, got {value}")
        self.min_cutoff, self.beta, self.d_cutoff, self.max_gap = min_cutoff, beta, d_cutoff, max_gap
        self.reset()

    def reset(self) -> None:
        """Forget everybody."""
        self._points = np.zeros((0, 0, 2))
        self._speeds = np.zeros((0, 0, 2))
        self._times = np.zeros((0, 0))
        self._now = -np.inf

    def update(
        self,
        points: np.ndarray,
        present: np.ndarray,
        timestamp: float,
        sizes: np.ndarray,
        shifts: Optional[np.ndarray] = None,
    ) -> np.ndarray:
        """Filter the keypoints of one moment.

        Person ``m`` stays in row ``m``; more rows than before are new people. ``select`` takes rows away.

        Args:
            points: (M, K, 2) px.
            present: (M, K) bool; keypoints without it keep their state and come back as they are.
            timestamp: Seconds, later than the last.
            sizes: (M,) size of each person, px: the square root of the area, or any other length.
            shifts: (M, 2) px, how far each person as a whole is known to have moved since the last call: only what
                keypoints do beside that is filtered, so that a person who walks does not lag. None is nobody.

        Returns:
            (M, K, 2) float64 px.

        Raises:
            ValueError: The time does not rise, or there are fewer rows than before.
        """
        if not timestamp > self._now:
            raise ValueError(
                f"timestamp {timestamp} s is not later than the last one, {self._now} s; reset() begins a new video"
            )
        points = np.asarray(points, np.float64)
        self._grow(points.shape)
        if shifts is not None:
            self._points = self._points + shifts[:, None]
        gaps = timestamp - self._times
        # A keypoint that the last frame had is one step old, however long the step.
        is_new = gaps > self.max_gap + (timestamp - self._now if np.isfinite(self._now) else 0.0)
        self._now = timestamp
        gaps = np.where(is_new, 1.0, gaps)[..., None]
        raw = (points - self._points) / gaps
        weight = _weight(gaps, self.d_cutoff)
        speeds = self._speeds + weight * (raw - self._speeds)
        cutoff = self.min_cutoff + self.beta * np.abs(speeds) / np.maximum(sizes, 1e-6)[:, None, None]
        smoothed = self._points + _weight(gaps, cutoff) * (points - self._points)
        smoothed = np.where(is_new[..., None], points, smoothed)
        seen = present[..., None]
        self._points = np.where(seen, smoothed, self._points)
        self._speeds = np.where(seen, np.where(is_new[..., None], 0.0, speeds), self._speeds)
        self._times = np.where(present, timestamp, self._times)
        return np.where(seen, smoothed, points)

    def select(self, rows: np.ndarray) -> None:
        """Keep some people: ``rows`` is (M,) bool, or row numbers."""
        self._points, self._speeds, self._times = self._points[rows], self._speeds[rows], self._times[rows]

    def _grow(self, shape: Tuple[int, ...]) -> None:
        if not len(self._points):
            self._points, self._speeds = np.zeros((0, *shape[1:])), np.zeros((0, *shape[1:]))
            self._times = np.zeros((0, shape[1]))
        count = shape[0] - len(self._points)
        if count < 0 or shape[1:] != self._points.shape[1:]:
            raise ValueError(f"points have shape {shape}, wanted at least {self._points.shape}")
        self._points = np.concatenate([self._points, np.zeros((count, *shape[1:]))])
        self._speeds = np.concatenate([self._speeds, np.zeros((count, *shape[1:]))])
        self._times = np.concatenate([self._times, np.full((count, shape[1]), -np.inf)])


def _weight(gaps: np.ndarray, cutoff: Union[np.ndarray, float]) -> np.ndarray:
    """Return the weight of a new value after ``gaps`` seconds, for a first-order low-pass of ``cutoff`` Hz."""
    turn = 2 * np.pi * cutoff * gaps
    return turn / (turn + 1)
