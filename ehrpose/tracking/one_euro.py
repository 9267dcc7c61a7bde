"""The 1 euro filter: smooths slow keypoints strongly and fast ones weakly.

Source: Casiez, Roussel, Vogel 2012, 1 Euro Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive
Systems, CHI. Works on arrays, as published packages filter one number at a time. Speeds are divided by the size of the
person, so the parameters fit any resolution.
"""

from __future__ import annotations

from typing import Optional, Tuple, Union

import numpy as np


class OneEuroFilter:
    """A filter for each coordinate of each keypoint of M people.

    The cut-off frequency of a coordinate is ``min_cutoff + beta * speed`` Hz, with its speed in person sizes per
    second, itself filtered at ``d_cutoff``. Tune ``min_cutoff`` on a person at rest (lower: less jitter), then ``beta``
    on a moving one (higher: less lag).

    Args:
        min_cutoff: Cut-off frequency at rest, Hz, above 0.
        beta: Growth of the cut-off frequency with speed, 0 or greater.
        d_cutoff: Cut-off frequency of the speed, Hz, above 0.
        max_gap: Seconds; the filter of a keypoint that was missing for longer restarts.

    Raises:
        ValueError: A parameter is out of range.
    """

    def __init__(
        self, min_cutoff: float = 3.0, beta: float = 4.0, d_cutoff: float = 2.0, max_gap: float = 0.1
    ) -> None:
        for name, value in (("min_cutoff", min_cutoff), ("d_cutoff", d_cutoff)):
            if not 0 < value < np.inf:
                raise ValueError(f"{name}: expected a frequency above 0 Hz, got {value}")
        for name, value in (("beta", beta), ("max_gap", max_gap)):
            if not 0 <= value < np.inf:
                raise ValueError(f"{name}: expected a number of at least 0, got {value}")
        self.min_cutoff, self.beta, self.d_cutoff, self.max_gap = min_cutoff, beta, d_cutoff, max_gap
        self.reset()

    def reset(self) -> None:
        """Forget all people."""
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
        """Filter the keypoints of one frame.

        Person ``m`` stays in row ``m``; additional rows are new people. ``select`` removes rows.

        Args:
            points: (M, K, 2) px.
            present: (M, K) bool; where it is False, the state is kept and the keypoint returned unchanged.
            timestamp: Seconds, later than in the last call.
            sizes: (M,) size of each person, px: the square root of the area, or any other length.
            shifts: (M, 2) px, known movement of each person as a whole since the last call. Only the rest of a
                keypoint's motion is filtered, so that a walking person does not lag. None: nothing is known.

        Returns:
            (M, K, 2) float64 px.

        Raises:
            ValueError: The time does not increase, or there are fewer rows than before.
        """
        if not timestamp > self._now:
            raise ValueError(
                f"timestamp {timestamp} s is not later than the last one, {self._now} s; call reset() for a new video"
            )
        points = np.asarray(points, np.float64)
        self._grow(points.shape)
        if shifts is not None:
            self._points = self._points + shifts[:, None]
        gaps = timestamp - self._times
        # A keypoint seen in the last frame is continued, however long ago that frame was.
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
        """Keep only the people in ``rows``, an (M,) bool mask or row indices."""
        self._points, self._speeds, self._times = self._points[rows], self._speeds[rows], self._times[rows]

    def _grow(self, shape: Tuple[int, ...]) -> None:
        if not len(self._points):
            self._points, self._speeds = np.zeros((0, *shape[1:])), np.zeros((0, *shape[1:]))
            self._times = np.zeros((0, shape[1]))
        count = shape[0] - len(self._points)
        if count < 0 or shape[1:] != self._points.shape[1:]:
            raise ValueError(f"points have shape {shape}, expected at least {self._points.shape}")
        self._points = np.concatenate([self._points, np.zeros((count, *shape[1:]))])
        self._speeds = np.concatenate([self._speeds, np.zeros((count, *shape[1:]))])
        self._times = np.concatenate([self._times, np.full((count, shape[1]), -np.inf)])


def _weight(gaps: np.ndarray, cutoff: Union[np.ndarray, float]) -> np.ndarray:
    """Return the weight of a new value after ``gaps`` seconds, for a first-order low-pass of ``cutoff`` Hz."""
    turn = 2 * np.pi * cutoff * gaps
    return turn / (turn + 1)
