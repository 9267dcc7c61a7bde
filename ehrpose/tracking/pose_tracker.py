"""Assign a persistent id to each person in a video (no torch).

Source: Zhang et al. 2022, ByteTrack, arXiv:2110.06864 (people with a high score first, then those with a low one), with
OKS instead of box overlap, as in Xiao et al. 2018, arXiv:1804.06208, sec. 3. Written here because supervision and
trackers compare boxes and need Python 3.10, and norfair supports keypoints but needs NumPy 1 and matches greedily.
Axes: M tracks, N people, K keypoint types.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from ehrpose.assignment import linear_sum_assignment
from ehrpose.oks import keypoint_boxes, pairwise_oks
from ehrpose.registry import TRACKERS
from ehrpose.results.supervision_keypoints import visible_people, with_ids
from ehrpose.structures import People
from ehrpose.tracking.one_euro import OneEuroFilter
from ehrpose.tracking.plain_arrays import Skeleton, TrackedArrays, people_of_arrays, skeleton_of
from ehrpose.tracking.similarity import box_areas, enlarged_boxes, pairwise_iou
from ehrpose.tracking.tracks import TENTATIVE, Tracks


class Tracked(NamedTuple):
    """The people of one frame with their ids.

    Attributes:
        people: The given people, in the same order; smoothed if the tracker smooths.
        ids: (N,) int64, the id of each person, from 0; -1 for people who are not (yet) tracked.
    """

    people: People
    ids: np.ndarray


@TRACKERS.register_module()
class PoseTracker:
    """Tracks the people of one video at a time.

    A frame's people are matched in four rounds, each an assignment that maximises the total similarity: people with a
    high score to all tracks with an id; people with a low score to tracks seen in the last frame; remaining people with
    a high score to tracks unseen for longer, whose position is less certain; and then to new tracks. Those who still
    remain start a track.

    Ids count from 0 and are not reused until ``reset``.

    Args:
        keypoints: KeypointMeta or its config, which define K and the OKS tolerances. For people of another source: the
            names of the keypoints, or just K; then all keypoints have the tolerance 0.05.
        frame_rate: Frames per second, for calls of ``update`` without a timestamp.
        max_age: Seconds for which an unseen person is remembered.
        min_hits: Consecutive frames in which a person must be seen to get an id; in the first frame all people get one.
        high_score: People with at least this score may start a track; others only continue one.
        low_score: People below it are not tracked.
        keypoint_score: Keypoints below it count as missing.
        min_similarity: Minimum similarity of a match, 0 to 1.
        min_common: With fewer keypoints in common, the overlap of boxes is used as the similarity.
        motion: Predict positions from velocities.
        acceleration: How quickly people change their velocity, in sizes (square root of the area) per second, per
            square root of a second.
        decay: Seconds in which an unseen person's velocity falls to 1/e.
        smoothing: Options of OneEuroFilter, to smooth keypoints; None leaves them unchanged.

    Raises:
        ValueError: A parameter is out of range, or ``smoothing`` has an unknown option.
    """

    def __init__(
        self,
        keypoints: Skeleton,
        frame_rate: float = 30.0,
        max_age: float = 2.0,
        min_hits: int = 2,
        high_score: float = 0.2,
        low_score: float = 0.1,
        keypoint_score: float = 0.1,
        min_similarity: float = 0.25,
        min_common: int = 3,
        motion: bool = True,
        acceleration: float = 2.0,
        decay: float = 1.0,
        smoothing: Optional[Mapping[str, Any]] = None,
    ) -> None:
        for name, value in (("frame_rate", frame_rate), ("acceleration", acceleration), ("decay", decay)):
            _check(name, 0 < value < np.inf, "a number above 0", value)
        _check("max_age", 0 <= max_age < np.inf, "at least 0 seconds", max_age)
        _check("min_hits", min_hits >= 1, "at least 1", min_hits)
        _check("low_score", 0 <= low_score <= high_score, f"0 to high_score, {high_score}", low_score)
        _check("keypoint_score", keypoint_score >= 0, "at least 0", keypoint_score)
        _check("min_similarity", 0 < min_similarity < 1, "a number between 0 and 1", min_similarity)
        _check("min_common", min_common >= 1, "at least 1", min_common)
        self.keypoints = skeleton_of(keypoints)
        self.frame_rate, self.max_age, self.min_hits = float(frame_rate), float(max_age), int(min_hits)
        self.high_score, self.low_score, self.keypoint_score = high_score, low_score, keypoint_score
        self.min_similarity, self.min_common = min_similarity, min_common
        self.motion, self.acceleration, self.decay = motion, acceleration, decay
        self._sigmas = self.keypoints.sigmas.astype(np.float64)
        self._filter = None if smoothing is None else _build_filter(smoothing)
        self.reset()

    def reset(self) -> None:
        """Forget all people; the next frame is the first of a new video, and ids count from 0 again."""
        self._tracks = Tracks(self.keypoints.num_keypoints, self.acceleration, self.decay, self.motion)
        self._now: Optional[float] = None
        self._next_id = 0
        if self._filter is not None:
            self._filter.reset()

    def update(self, people: People, timestamp: Optional[float] = None) -> Tracked:
        """Assign ids to the people of the next frame.

        Call it for every frame, including those without people.

        Args:
            people: The detected people, K keypoints each, px; all frames have the same size. Non-finite keypoints count
                as missing, people with a non-finite score are not tracked.
            timestamp: Time of the frame in seconds; None: 1 / ``frame_rate`` after the last one.

        Returns:
            The people in the same order, and their ids.

        Raises:
            ValueError: The people have another number of keypoints, or the time does not increase.
        """
        if people.keypoints.shape[1] != self.keypoints.num_keypoints:
            raise ValueError(
                f"people have {people.keypoints.shape[1]} keypoints, expected {self.keypoints.num_keypoints} for the "
                f"tracker's skeleton {self.keypoints.dataset_name!r}"
            )
        is_first, seconds = self._advance(timestamp)
        present = np.isfinite(people.keypoints).all(axis=2) & (people.keypoint_scores > 0)
        present &= people.keypoint_scores >= self.keypoint_score
        keypoints = np.where(present[..., None], people.keypoints, 0).astype(np.float64)
        scores = np.where(present.any(axis=1), np.nan_to_num(people.scores), -1.0)
        tracks = self._tracks
        self._forget(seconds)
        shifts = tracks.predict(seconds)
        rows = self._match(keypoints, present, scores)
        found = rows >= 0
        tracks.missed += 1
        tracks.correct(rows[found], keypoints[found], present[found], self._time)
        fresh = ~found & (scores >= self.high_score)
        rows[fresh] = tracks.add(keypoints[fresh], present[fresh], self._time)
        self._number(is_first)
        smoothed = people if self._filter is None else self._smooth(people, present, rows, shifts)
        ids = np.where(rows >= 0, tracks.ids[rows] if len(tracks) else TENTATIVE, TENTATIVE)
        # A new track must be seen in every frame until it has an id.
        self._select((tracks.missed == 0) | ((tracks.ids >= 0) & (self._time - tracks.seen <= self.max_age)))
        return Tracked(smoothed, ids.astype(np.int64))

    def update_arrays(
        self, keypoints: Any, scores: Any = None, person_scores: Any = None, timestamp: Optional[float] = None
    ) -> TrackedArrays:
        """Assign ids to the people of the next frame, given as arrays of any source.

        Call it for every frame, with empty arrays for those without people.

        Args:
            keypoints: (N, K, 2) x and y in px, or (N, K, 3) with the scores. Those that are not finite are missing.
            scores: (N, K) score of each keypoint, 0 where it is missing; None: the third column, else 1.
            person_scores: (N,) score of each person, which ``high_score`` and ``low_score`` judge; None: the mean of
                the keypoints' scores.
            timestamp: Time of the frame in seconds; None: 1 / ``frame_rate`` after the last one.

        Returns:
            Ids and smoothed keypoints, in the given order.

        Raises:
            ValueError: The shapes do not match one another or the skeleton, or the time does not increase.
        """
        people = people_of_arrays(keypoints, scores, person_scores, self.keypoints.num_keypoints)
        tracked = self.update(people, timestamp)
        return TrackedArrays(tracked.ids, tracked.people.keypoints, tracked.people.keypoint_scores)

    def update_supervision(self, keypoints: Any, timestamp: Optional[float] = None) -> Any:
        """Assign ids to the people of the next frame, given as ``supervision.KeyPoints``.

        Args:
            keypoints: The people of any source. Keypoints without a score are missing at (0, 0), else have the score 1;
                people without a score have the mean of their keypoints'. Where ``visible`` is False, they are missing.
            timestamp: As for ``update_arrays``.

        Returns:
            A copy in the same order, with smoothed ``xy`` and the ids as ``data["tracker_id"]``, (N,) int64.

        Raises:
            TypeError: It is something else.
            ValueError: The people have another number of keypoints, or the time does not increase.
        """
        people = visible_people(keypoints)
        tracked = self.update(
            people if len(people) else People.empty(self.keypoints.num_keypoints), timestamp
        )
        return with_ids(keypoints, tracked.people, tracked.ids)

    @property
    def _time(self) -> float:
        return 0.0 if self._now is None else self._now

    def _advance(self, timestamp: Optional[float]) -> Tuple[bool, float]:
        """Set the time; return whether this is the first frame, and the seconds since the last one."""
        is_first = self._now is None
        if timestamp is None:
            timestamp = 0.0 if self._now is None else self._now + 1 / self.frame_rate
        if not np.isfinite(timestamp):
            raise ValueError(f"timestamp: expected seconds, got {timestamp}")
        if self._now is not None and timestamp <= self._now:
            raise ValueError(
                f"timestamp {timestamp} s is not later than that of the last frame, {self._now} s; "
                f"call reset() for a new video"
            )
        seconds = 0.0 if self._now is None else timestamp - self._now
        self._now = float(timestamp)
        return is_first, seconds

    def _forget(self, seconds: float) -> None:
        """Forget all people after a pause longer than ``max_age`` and than 1 s, as frame rates may be low."""
        if seconds > max(self.max_age, 1.0):
            self._select(np.zeros(len(self._tracks), bool))

    def _select(self, rows: np.ndarray) -> None:
        if not rows.all():
            self._tracks.select(rows)
            if self._filter is not None:
                self._filter.select(rows)

    def _match(self, keypoints: np.ndarray, present: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Return (N,) the row of each person's track, -1 for none."""
        tracks = self._tracks
        rows = np.full(len(keypoints), -1)
        if not len(tracks) or not len(keypoints):
            return rows
        areas = self._areas(keypoints, present)
        exact = self._similarity(keypoints, present, areas, np.zeros(len(tracks)))
        followed = tracks.ids >= 0
        high = scores >= self.high_score
        self._assign(exact, followed, high, rows)
        low = (scores >= self.low_score) & ~high
        self._assign(exact, followed & (tracks.missed == 0), low, rows)
        lost = followed & (tracks.missed > 0)
        if lost.any():
            # The tolerance grows with the uncertainty of the position.
            doubt = np.minimum(tracks.variances[:, 0], tracks.sizes**2)
            loose = self._similarity(keypoints, present, areas, doubt)
            self._assign(loose, lost, high, rows)
        self._assign(exact, ~followed, high, rows)
        return rows

    def _areas(self, keypoints: np.ndarray, present: np.ndarray) -> np.ndarray:
        """Return the (M, N) areas that scale OKS: the larger of track and person, of which more is visible."""
        theirs = box_areas(keypoint_boxes(keypoints, present))
        return np.maximum(self._tracks.sizes[:, None] ** 2, theirs[None])

    def _similarity(
        self, keypoints: np.ndarray, present: np.ndarray, areas: np.ndarray, variances: np.ndarray
    ) -> np.ndarray:
        """Return the (M, N) similarity of tracks and people: OKS, or box overlap if few keypoints are common."""
        tracks = self._tracks
        oks, common = pairwise_oks(
            tracks.poses, tracks.known, keypoints, present, areas, self._sigmas, variances
        )
        few = common < self.min_common
        if few.any():
            boxes = enlarged_boxes(keypoint_boxes(tracks.poses, tracks.known))
            overlap = pairwise_iou(boxes, enlarged_boxes(keypoint_boxes(keypoints, present)))
            oks = np.where(few, overlap, oks)
        return oks

    def _assign(
        self, similarity: np.ndarray, of_tracks: np.ndarray, of_people: np.ndarray, rows: np.ndarray
    ) -> None:
        """Match those of the given tracks and people that have no match yet; write the result into ``rows``."""
        taken = np.zeros(len(of_tracks), bool)
        taken[rows[rows >= 0]] = True
        candidates = np.nonzero(of_tracks & ~taken)[0]
        people = np.nonzero(of_people & (rows < 0))[0]
        if not len(candidates) or not len(people):
            return
        part = similarity[np.ix_(candidates, people)]
        part = np.where(part >= self.min_similarity, part, 0.0)
        first, second = linear_sum_assignment(-part)
        is_match = part[first, second] > 0
        rows[people[second[is_match]]] = candidates[first[is_match]]

    def _number(self, is_first: bool) -> None:
        """Assign ids to tracks that were seen often enough."""
        tracks = self._tracks
        ready = (tracks.ids < 0) & (tracks.missed == 0) & ((tracks.hits >= self.min_hits) | is_first)
        count = int(ready.sum())
        tracks.ids[ready] = np.arange(self._next_id, self._next_id + count)
        self._next_id += count

    def _smooth(self, people: People, present: np.ndarray, rows: np.ndarray, shifts: np.ndarray) -> People:
        """Return the people with filtered keypoints; those that are not tracked stay unchanged.

        ``shifts`` (m, 2) px are the predicted shifts of the tracks that are not new.
        """
        tracks, found = self._tracks, rows >= 0
        points, seen = tracks.poses.copy(), np.zeros_like(tracks.known)
        seen[rows[found]] = present[found]
        shifts = np.concatenate([shifts, np.zeros((len(tracks) - len(shifts), 2))])
        smoothed = self._filter.update(points, seen, self._time, tracks.sizes, shifts)  # type: ignore[union-attr]
        keypoints = people.keypoints.copy()
        keypoints[found] = np.where(present[found][..., None], smoothed[rows[found]], keypoints[found])
        return People(keypoints, people.keypoint_scores, people.scores, people.tags, people.filled)


def _build_filter(options: Mapping[str, Any]) -> OneEuroFilter:
    try:
        return OneEuroFilter(**options)
    except TypeError as error:
        raise ValueError(f"smoothing: expected options of OneEuroFilter, got {options!r}: {error}") from error


def _check(name: str, is_good: bool, expected: str, value: Any) -> None:
    if not is_good:
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
