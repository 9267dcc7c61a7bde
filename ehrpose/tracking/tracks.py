"""State of a tracker: pose, velocity and uncertainty of each person, as arrays with one row per person.

A person moves as a whole, with a velocity that a Kalman filter estimates from the median shift of the keypoints that
two frames have in common (the median, so that swinging limbs and wrong keypoints hardly count). Positions are those of
the keypoints themselves. x and y share their variances. Units: px, s; noise is relative to the person's size.
Axes: M tracks, K keypoint types.
"""

from __future__ import annotations

import numpy as np

from ehrpose.oks import keypoint_boxes
from ehrpose.tracking.similarity import box_areas

# Id of a track that has not been seen often enough yet.
TENTATIVE = -1
# Standard deviations of a measured shift, in person sizes, and of the speed of a new track, in sizes per second.
_SHIFT_NOISE, _FIRST_SPEED = 0.03, 1.0
# Weight of a new frame in the estimate of a person's size.
_SIZE_GAIN = 0.2


class Tracks:
    """M tracks; every attribute has one row per track.

    Attributes:
        ids: (M,) int64, the person's id, or TENTATIVE.
        hits: (M,) int64, frames in which the person was seen.
        missed: (M,) int64, frames since the person was last seen.
        seen: (M,) time at which the person was last seen, s.
        poses: (M, K, 2) px, current keypoints, extrapolated while unseen; never NaN.
        known: (M, K) bool, keypoints that were seen at least once.
        velocities: (M, 2) px/s.
        variances: (M, 3) of shift, shift with velocity, and velocity: px^2, px^2/s, px^2/s^2.
        sizes: (M,) square root of the person's area, px.
    """

    _FIELDS = ("ids", "hits", "missed", "seen", "poses", "known", "velocities", "variances", "sizes")

    def __init__(self, num_keypoints: int, acceleration: float, decay: float, motion: bool = True) -> None:
        self._acceleration, self._decay, self._motion = acceleration, decay, motion
        self.ids = np.zeros(0, np.int64)
        self.hits = np.zeros(0, np.int64)
        self.missed = np.zeros(0, np.int64)
        self.seen = np.zeros(0)
        self.poses = np.zeros((0, num_keypoints, 2))
        self.known = np.zeros((0, num_keypoints), bool)
        self.velocities = np.zeros((0, 2))
        self.variances = np.zeros((0, 3))
        self.sizes = np.zeros(0)

    def __len__(self) -> int:
        return len(self.ids)

    def predict(self, seconds: float) -> np.ndarray:
        """Move all tracks forward in time; return the (M, 2) shifts, px."""
        if not self._motion:
            return np.zeros((len(self), 2))
        fading = np.exp(-seconds / self._decay)
        self.velocities = np.where(self.missed[:, None] > 0, fading * self.velocities, self.velocities)
        shifts = self.velocities * seconds
        self.poses = self.poses + shifts[:, None]
        shift, cross, speed = self.variances.T
        push = (self._acceleration * self.sizes) ** 2
        self.variances = np.stack(
            [
                shift + 2 * seconds * cross + seconds**2 * speed + push * seconds**3 / 3,
                cross + seconds * speed + push * seconds**2 / 2,
                speed + push * seconds,
            ],
            axis=1,
        )
        return shifts

    def correct(self, rows: np.ndarray, keypoints: np.ndarray, present: np.ndarray, timestamp: float) -> None:
        """Update tracks ``rows`` (n,) with the keypoints (n, K, 2) that are ``present`` (n, K)."""
        common = self.known[rows] & present
        shift = _median_shift(keypoints - self.poses[rows], common)
        alone = ~common.any(axis=1)
        if alone.any():
            before = _centres(self.poses[rows], self.known[rows])
            shift[alone] = (_centres(keypoints, present) - before)[alone]
        if self._motion:
            self._correct_motion(rows, shift)
        # Unseen keypoints move along with the rest.
        self.poses[rows] = np.where(present[..., None], keypoints, self.poses[rows] + shift[:, None])
        self.known[rows] |= present
        sizes = np.sqrt(box_areas(keypoint_boxes(self.poses[rows], self.known[rows])))
        self.sizes[rows] += _SIZE_GAIN * (sizes - self.sizes[rows])
        self.hits[rows] += 1
        self.missed[rows] = 0
        self.seen[rows] = timestamp

    def _correct_motion(self, rows: np.ndarray, shift: np.ndarray) -> None:
        var_shift, cross, speed = self.variances[rows].T
        noise = (_SHIFT_NOISE * self.sizes[rows]) ** 2
        total = var_shift + noise
        gain, speed_gain = var_shift / total, cross / total
        self.velocities[rows] += speed_gain[:, None] * shift
        self.variances[rows] = np.stack(
            [(1 - gain) * var_shift, (1 - gain) * cross, speed - speed_gain * cross], axis=1
        )

    def add(self, keypoints: np.ndarray, present: np.ndarray, timestamp: float) -> np.ndarray:
        """Start a tentative track for each of (n, K, 2) keypoints; return their rows (n,)."""
        count = len(keypoints)
        sizes = np.sqrt(box_areas(keypoint_boxes(keypoints, present)))
        noise = np.array([_SHIFT_NOISE**2, 0.0, _FIRST_SPEED**2])
        new = {
            "ids": np.full(count, TENTATIVE),
            "hits": np.ones(count, np.int64),
            "missed": np.zeros(count, np.int64),
            "seen": np.full(count, timestamp),
            "poses": np.where(present[..., None], keypoints, _centres(keypoints, present)[:, None]),
            "known": present,
            "velocities": np.zeros((count, 2)),
            "variances": noise * sizes[:, None] ** 2,
            "sizes": sizes,
        }
        first = len(self)
        for name in self._FIELDS:
            setattr(self, name, np.concatenate([getattr(self, name), new[name]]))
        return np.arange(first, first + count)

    def select(self, rows: np.ndarray) -> None:
        """Keep only the tracks in ``rows``, an (M,) bool mask."""
        for name in self._FIELDS:
            setattr(self, name, getattr(self, name)[rows])


def _median_shift(away: np.ndarray, common: np.ndarray) -> np.ndarray:
    """Return the (n, 2) median of ``away`` (n, K, 2) over the ``common`` (n, K) keypoints; 0 without any."""
    ordered = np.sort(np.where(common[..., None], away, np.inf), axis=1)
    count = common.sum(axis=1)
    rows = np.arange(len(away))
    middle = 0.5 * (ordered[rows, np.maximum(count - 1, 0) // 2] + ordered[rows, count // 2])
    return np.where(count[:, None] > 0, middle, 0.0)


def _centres(keypoints: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Return the (n, 2) centres of the boxes around present keypoints."""
    boxes = keypoint_boxes(keypoints, present)
    return 0.5 * (boxes[:, :2] + boxes[:, 2:])
