"""Synthetic videos with detections, on which trackers are evaluated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ehrpose.analysis.tracking.detection_noise import DetectionNoise, NoisyDetector
from ehrpose.datasets.synthetic.video import SyntheticVideo, VideoFrame
from ehrpose.evaluation.tracking_metric import TruePeople
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.structures import People

# People with a smaller share of visible pixels need not be found.
_MIN_SHARE = 0.15
# Videos of a benchmark differ in size, frame rate and number of people.
_SIZES = ((320, 240), (480, 270), (256, 320))
_FPS = (25.0, 15.0, 30.0)
_PEOPLE = ((2, 4), (4, 7), (7, 10))


@dataclass
class Recording:
    """The true and the detected people in each frame of a video."""

    timestamps: list[float] = field(default_factory=list)
    truth: list[TruePeople] = field(default_factory=list)
    found: list[People] = field(default_factory=list)


def make_video(
    keypoints: KeypointMeta, seed: int, num_frames: int, options: Mapping[str, Any] | None = None
) -> SyntheticVideo:
    """Return the benchmark's video for a seed; consecutive seeds differ in size, frame rate and number of people.

    Args:
        keypoints: The skeleton.
        seed: Seed of the video.
        num_frames: Length of the video.
        options: Arguments of SyntheticVideo that replace the benchmark's.

    Raises:
        ValueError: An option is unknown or out of its range.
    """
    rng = np.random.default_rng([seed, 11])
    chosen = {
        "image_size": _SIZES[seed % 3],
        "num_people": _PEOPLE[(seed // 3) % 3],
        "person_height": (float(rng.uniform(0.2, 0.35)), float(rng.uniform(0.5, 0.9))),
        "fps": _FPS[rng.integers(3)],
        "num_occluders": int(rng.integers(3)),
    }
    try:
        return SyntheticVideo(keypoints, num_frames, seed, **{**chosen, **(options or {})})
    except TypeError as error:
        raise ValueError(f"SyntheticVideo: {error}") from error


def true_people(frame: VideoFrame) -> TruePeople:
    """Return the ground truth; people with under 3 keypoints or 15 % of their pixels visible need not be found."""
    few = (frame.visible > 0).sum(axis=1) < min(3, frame.visible.shape[1])
    return TruePeople(frame.keypoints, frame.visible, frame.ids, few | (frame.shares < _MIN_SHARE))


def record(video: SyntheticVideo, detect: Callable[[VideoFrame], People]) -> Recording:
    """Render a video and detect the people in each frame."""
    recording = Recording()
    for frame in video:
        recording.timestamps.append(frame.timestamp)
        recording.truth.append(true_people(frame))
        recording.found.append(detect(frame))
    return recording


def model_detector(config: str, checkpoint: str, device: str) -> Callable[[VideoFrame], People]:
    """Return a detector that runs a model on each frame."""
    from ehrpose.inferencers.predictors import TorchPredictor

    predictor = TorchPredictor(config, checkpoint, device)
    return lambda frame: predictor.predict([frame.img])[0]


def make_recordings(
    keypoints: KeypointMeta,
    seeds: Sequence[int],
    num_frames: int,
    noise: DetectionNoise,
    detect: Callable[[VideoFrame], People] | None = None,
    video_options: Mapping[str, Any] | None = None,
) -> list[Recording]:
    """Return the recordings of the seeds; without ``detect``, the detections come from ``NoisyDetector``."""
    return [
        record(make_video(keypoints, seed, num_frames, video_options), detect or NoisyDetector(noise, seed))
        for seed in seeds
    ]


def make_noise(values: Mapping[str, float]) -> DetectionNoise:
    """Return the noise with some values replaced; raises ValueError for an unknown field."""
    unknown = sorted(set(values) - set(DetectionNoise.__dataclass_fields__))
    if unknown:
        raise ValueError(
            f"unknown noise {', '.join(unknown)}; available: {', '.join(DetectionNoise.__dataclass_fields__)}"
        )
    return DetectionNoise(**values)
