"""Tracking metrics on synthetic videos, and the effect of smoothing on the keypoints."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ehrpose.analysis.tracking.tracking_recordings import (
    Recording,
    make_noise,
    make_recordings,
    model_detector,
)
from ehrpose.config import read_config
from ehrpose.evaluation.tracking_metric import TrackingMetric, TruePeople, match_oks
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import keypoint_boxes
from ehrpose.registry import TRACKERS
from ehrpose.structures import People
from ehrpose.tracking import Tracked
from ehrpose.tracking.offline import OfflineSmoother
from ehrpose.tracking.similarity import pairwise_iou

_OFFLINE = "PoseTracker, smoothing offline"
# First seed of the videos for choosing parameters; the benchmark's seeds start at 0.
SWEEP_SEED = 1000


class GreedyIouTracker:
    """The baseline: each person, best first, continues the track whose last box overlaps most (IoU at least 0.3).

    Args:
        min_score: People below this score are not tracked.
        max_age: Seconds for which a box is remembered.
    """

    def __init__(self, min_score: float = 0.3, max_age: float = 2.0) -> None:
        self.min_score, self.max_age = min_score, max_age
        self._boxes: dict[int, tuple[np.ndarray, float]] = {}
        self._next_id = 0

    def update(self, people: People, timestamp: float) -> Tracked:
        """Assign ids to the people of the next frame; see ``PoseTracker.update``."""
        ids = np.full(len(people), -1)
        boxes = keypoint_boxes(people.keypoints, people.keypoint_scores > 0)
        free = {key: box for key, (box, seen) in self._boxes.items() if timestamp - seen <= self.max_age}
        for n in np.argsort(-people.scores, kind="stable"):
            if people.scores[n] < self.min_score:
                continue
            keys = list(free)
            overlaps = pairwise_iou(boxes[n][None], np.array([free[key] for key in keys]).reshape(-1, 4))[0]
            if len(keys) and overlaps.max() >= 0.3:
                ids[n] = keys[int(overlaps.argmax())]
                del free[ids[n]]
            else:
                ids[n] = self._next_id
                self._next_id += 1
            self._boxes[int(ids[n])] = (boxes[n], timestamp)
        return Tracked(people, ids)


@dataclass
class Result:
    """Results of a tracker: ``TrackingMetric``'s metrics, milliseconds per frame, and keypoint errors."""

    numbers: dict[str, float]
    ms: list[float]
    error: float
    acceleration: float
    true_acceleration: float


def run_tracker(
    make_tracker: Callable[[], Any],
    recordings: Sequence[Recording],
    keypoints: KeypointMeta,
    smoother: OfflineSmoother | None = None,
) -> Result:
    """Track the people of all recordings, each with a new tracker, and smooth them once they are all known."""
    metric, ms = TrackingMetric(keypoints), []
    errors: list[np.ndarray] = []
    bends: list[np.ndarray] = []
    for number, recording in enumerate(recordings):
        tracker, paths, frames, spent = make_tracker(), _Paths(keypoints), [], []
        for timestamp, found in zip(recording.timestamps, recording.found):
            start = time.perf_counter()
            frames.append(tracker.update(found, timestamp))
            spent.append(1000 * (time.perf_counter() - start))
        if smoother is not None:
            start = time.perf_counter()
            smoothed = smoother.smooth_video(
                recording.timestamps, [frame.people for frame in frames], [frame.ids for frame in frames]
            )
            frames = [Tracked(*frame) for frame in zip(*smoothed)]
            share = 1000 * (time.perf_counter() - start) / max(len(frames), 1)
            spent = [value + share for value in spent]
        ms += spent
        for truth, tracked in zip(recording.truth, frames):
            metric.add(number, truth, tracked.people, tracked.ids)
            paths.add(truth, tracked)
        errors.append(paths.errors())
        bends.append(paths.accelerations())
    bend, error = np.concatenate(bends), np.concatenate(errors)
    means = bend.mean(axis=0) if len(bend) else np.full(2, np.nan)
    return Result(
        metric.compute(), ms, float(error.mean()) if len(error) else np.nan, float(means[0]), float(means[1])
    )


class _Paths:
    """Pairs of detected and true keypoints, by person and keypoint type, over the frames of a video."""

    def __init__(self, keypoints: KeypointMeta) -> None:
        self._sigmas = keypoints.sigmas
        self._frames: list[dict[int, np.ndarray]] = []

    def add(self, truth: TruePeople, tracked: Tracked) -> None:
        """Match the people of a frame and keep (K, 4) detected and true x, y; NaN where a keypoint is missing."""
        people, pairs = tracked.people, {}
        similarity = match_oks(truth, people, self._sigmas)
        similarity[:, tracked.ids < 0] = 0
        for g, n in zip(*linear_sum_assignment(-similarity)):
            if similarity[g, n] >= 0.5:
                seen = (people.keypoint_scores[n] > 0) & (truth.visible[g] == 2)
                both = np.concatenate([people.keypoints[n], truth.keypoints[g]], axis=1).astype(np.float64)
                pairs[int(truth.ids[g])] = np.where(seen[:, None], both, np.nan)
        self._frames.append(pairs)

    def errors(self) -> np.ndarray:
        """Return the distances between detected and true keypoints, px."""
        rows = [pair for frame in self._frames for pair in frame.values()]
        pairs = np.concatenate(rows) if rows else np.zeros((0, 4))
        distance = np.linalg.norm(pairs[:, :2] - pairs[:, 2:], axis=1)
        return distance[np.isfinite(distance)]

    def accelerations(self) -> np.ndarray:
        """Return (n, 2) lengths of second differences over three frames, px per frame squared, detected and true."""
        found = []
        for before, now, after in zip(self._frames, self._frames[1:], self._frames[2:]):
            for person in before.keys() & now.keys() & after.keys():
                bend = before[person] - 2 * now[person] + after[person]
                found.append(np.linalg.norm(bend.reshape(-1, 2, 2), axis=2))
        bends = np.concatenate(found) if found else np.zeros((0, 2))
        return bends[np.isfinite(bends).all(axis=1)]


def print_table(
    rows: Mapping[str, Callable[[], Any]],
    recordings: Sequence[Recording],
    keypoints: KeypointMeta,
    offline: Mapping[str, OfflineSmoother] | None = None,
) -> None:
    """Print a row for each tracker."""
    head = [
        "tracker",
        "IDF1",
        "switches",
        "fragmentations",
        "MOTA",
        "HOTA",
        "ms",
        "error, px",
        "acceleration, px",
    ]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    result = None
    for name, make_tracker in rows.items():
        result = run_tracker(make_tracker, recordings, keypoints, (offline or {}).get(name))
        numbers = result.numbers
        cells = [name, f"{numbers['IDF1']:.3f}", f"{numbers['switches']}", f"{numbers['fragmentations']}"]
        cells += [f"{numbers['MOTA']:.3f}", f"{numbers['HOTA']:.3f}", f"{statistics.median(result.ms):.2f}"]
        cells += [f"{result.error:.2f}", f"{result.acceleration:.2f}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    if result is not None:
        print(
            f"true people: {result.numbers['true_people']}, their acceleration: {result.true_acceleration:.2f} px"
        )


def sweep_options(sweep: Sequence[str], options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the options of PoseTracker for each value of a sweep, by row name.

    Args:
        sweep: Name of an option (such as ``smoothing.beta`` for the filter) and its values.
        options: The other options.
    """
    name, rows = sweep[0], {}
    if len(sweep) < 2:
        raise ValueError(f"expected a sweep as a name and at least one number, got {list(sweep)}")
    for text in sweep[1:]:
        try:
            value = float(text)
        except ValueError as error:
            raise ValueError(f"expected numbers for the sweep of {name}, got {text!r}") from error
        changed: dict[str, Any] = {name: int(value) if value.is_integer() else value}
        if name.startswith("smoothing."):
            changed = {"smoothing": {**(options.get("smoothing") or {}), name.split(".", 1)[1]: value}}
        rows[f"{name}={text}"] = {**options, **changed}
    return rows


def print_benchmark(
    keypoints_config: str,
    num_videos: int,
    num_frames: int,
    noise_values: Mapping[str, float],
    tracker_options: Mapping[str, Any],
    sweep: Sequence[str],
    model: tuple[str, str, str] | None = None,
    video_options: Mapping[str, Any] | None = None,
) -> None:
    """Print the benchmark, or a sweep; see ``tools/analysis_tools/benchmark_tracking.py``.

    Raises:
        ValueError: An option or a number is invalid, or the model's skeleton differs from the videos'.
    """
    if num_videos < 1 or num_frames < 3:
        raise ValueError(f"expected at least 1 video of 3 frames, got {num_videos} of {num_frames}")
    keypoints = KeypointMeta.build(read_config(keypoints_config).keypoints)
    noise = make_noise(noise_values)
    options = dict(tracker_options)
    if sweep:
        variants = sweep_options(sweep, options)
    else:
        plain = {**options, "smoothing": None}
        variants = {
            "OKS, no motion": {**plain, "motion": False},
            "PoseTracker": plain,
            "PoseTracker, smoothing": {**options, "smoothing": options.get("smoothing") or {}},
            _OFFLINE: plain,
        }
    configs = {name: {"type": "PoseTracker", "keypoints": keypoints, **o} for name, o in variants.items()}
    rows: dict[str, Callable[[], Any]] = {} if sweep else {"greedy IoU": GreedyIouTracker}
    for name, config in configs.items():
        _build(config)  # report a wrong option before rendering anything
        rows[name] = partial(_build, config)
    detect = None if model is None else model_detector(*model)
    first = SWEEP_SEED if sweep else 0
    start = time.perf_counter()
    recordings = make_recordings(
        keypoints, range(first, first + num_videos), num_frames, noise, detect, video_options
    )
    seconds = time.perf_counter() - start
    source = f"the model {model[1]}" if model else f"{noise}"
    print(
        f"{num_videos} videos of {num_frames} frames, seeds {first} to {first + num_videos - 1}, "
        f"people from {source}; "
        f"{1000 * seconds / (num_videos * num_frames):.0f} ms to generate a frame"
    )
    print_table(rows, recordings, keypoints, {_OFFLINE: OfflineSmoother()})


def _build(config: Mapping[str, Any]) -> Any:
    try:
        return TRACKERS.build(dict(config))
    except TypeError as error:
        raise ValueError(f"PoseTracker: {error}") from error
