"""Simulated detections: ground-truth people with errors (NumPy only)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ehrpose.datasets.synthetic.video import VideoFrame
from ehrpose.oks import AREA_OF_BOX
from ehrpose.structures import People


@dataclass
class DetectionNoise:
    """The errors of a simulated network.

    Attributes:
        jitter: Standard deviation of a visible keypoint, relative to the person's size (square root of the area);
            twice that if hidden.
        missed: Share of visible keypoints that are missed; half of the hidden ones are.
        missed_people: Share of frames in which a person starts to be missed.
        gap: Mean length of such a gap, frames.
        hidden: People with a smaller share of visible pixels than this are missed in proportion.
        stolen: Share of keypoints taken from another person, if two overlap.
        false_people: False detections per frame: some keypoints of a person at another place.
        score: Standard deviation of a keypoint's score around 0.7, or 0.4 if hidden.
    """

    jitter: float = 0.02
    missed: float = 0.05
    missed_people: float = 0.02
    gap: float = 4.0
    hidden: float = 0.6
    stolen: float = 0.03
    false_people: float = 0.15
    score: float = 0.15


class NoisyDetector:
    """Simulates the detections in the frames of one video, in order.

    Args:
        noise: The errors.
        seed: Seed of the errors.
    """

    def __init__(self, noise: DetectionNoise, seed: int) -> None:
        self.noise, self._rng = noise, np.random.default_rng([seed, 7])
        self._unseen: dict[int, bool] = {}

    def __call__(self, frame: VideoFrame) -> People:
        """Return the people found in the next frame, best first.

        A person's score is the mean over the keypoints, as in the codec.
        """
        rng, noise = self._rng, self.noise
        found, scores = [], []
        sizes = np.sqrt(AREA_OF_BOX * np.ptp(frame.keypoints, axis=1).prod(axis=1))
        for n in range(len(frame.ids)):
            if self._misses(frame, n):
                continue
            hidden = frame.visible[n] == 1
            xy = self._steal(frame, n)
            xy = xy + rng.normal(0, noise.jitter * sizes[n], xy.shape) * np.where(hidden, 2, 1)[:, None]
            score = np.clip(rng.normal(np.where(hidden, 0.4, 0.7), noise.score), 0.11, 1.0)
            lost = rng.random(len(xy)) < np.where(hidden, 0.5, noise.missed)
            score[lost | (frame.visible[n] == 0)] = 0
            found.append(xy)
            scores.append(score)
        for _ in range(rng.poisson(noise.false_people) if len(frame.ids) else 0):
            n = int(rng.integers(len(frame.ids)))
            found.append(
                frame.keypoints[n] + rng.normal(0, sizes[n], (1, 2)) + rng.normal(0, 0.15 * sizes[n], (1, 2))
            )
            score = np.clip(rng.normal(0.4, noise.score, len(found[-1])), 0.11, 1.0)
            score[rng.random(len(score)) < rng.uniform(0.3, 0.9)] = 0
            scores.append(score)
        return _people(found, scores, frame.keypoints.shape[1])

    def _misses(self, frame: VideoFrame, n: int) -> bool:
        """Return whether a person is missed; gaps last for several frames."""
        rng, noise, person = self._rng, self.noise, int(frame.ids[n])
        if not (frame.visible[n] > 0).any():
            return True
        was_unseen = self._unseen.get(person, False)
        chance = 1 - 1 / noise.gap if was_unseen else noise.missed_people
        self._unseen[person] = bool(rng.random() < chance)
        return self._unseen[person] or rng.random() > frame.shares[n] / noise.hidden

    def _steal(self, frame: VideoFrame, n: int) -> np.ndarray:
        """Return a person's keypoints, some of them replaced by those of people who overlap."""
        xy = frame.keypoints[n].copy()
        for other in range(len(frame.ids)):
            low = np.maximum(frame.keypoints[other].min(axis=0), xy.min(axis=0))
            high = np.minimum(frame.keypoints[other].max(axis=0), xy.max(axis=0))
            if other != n and (high > low).all():
                stolen = self._rng.random(len(xy)) < self.noise.stolen
                xy[stolen] = frame.keypoints[other][stolen]
        return xy


def _people(found: list[np.ndarray], scores: list[np.ndarray], num_keypoints: int) -> People:
    if not found:
        return People.empty(num_keypoints)
    keypoint_scores = np.array(scores, np.float32)
    order = np.argsort(-keypoint_scores.mean(axis=1), kind="stable")
    order = order[(keypoint_scores[order] > 0).any(axis=1)]
    keypoints = np.where(keypoint_scores[..., None] > 0, np.array(found, np.float32), 0)
    return People(
        keypoints[order].astype(np.float32), keypoint_scores[order], keypoint_scores[order].mean(axis=1)
    )
