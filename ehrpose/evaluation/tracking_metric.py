"""Tracking metrics: IDF1, MOTA, HOTA, id switches and fragmentations.

Sources: Ristani et al. 2016, arXiv:1609.01775 (IDF1); Bernardin and Stiefelhagen 2008, CLEAR MOT (MOTA, switches,
fragmentations); Luiten et al. 2021, HOTA. Computed by TrackEval, so the numbers are the usual ones; people are compared
by OKS, as in COCO.
Axes: G true people, N people found, K keypoint types.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import areas_of, similarity
from ehrpose.structures import People


@dataclass
class TruePeople:
    """The true people of one frame.

    Attributes:
        keypoints: (G, K, 2) px.
        visible: (G, K), COCO's visibility; keypoints with 0 do not count.
        ids: (G,) integers that identify people.
        ignored: (G,) bool, people who may be found, but need not be; None: none. People without a keypoint that counts
            are always ignored.
    """

    keypoints: np.ndarray
    visible: np.ndarray
    ids: np.ndarray
    ignored: np.ndarray | None = None


def match_oks(truth: TruePeople, people: People, sigmas: np.ndarray) -> np.ndarray:
    """Return the (G, N) OKS of true people and people found.

    It is the mean over the true keypoints that count, or over all if none of a person's does. A keypoint that was not
    found (score 0, or not finite) adds 0. The area is 0.53 of the box around all true keypoints, as in COCO.
    """
    counts = truth.visible > 0
    counts = counts | ~counts.any(axis=1, keepdims=True)
    xy = truth.keypoints.astype(np.float64)
    areas = areas_of(xy, np.ones(xy.shape[:2], bool))
    present = np.isfinite(people.keypoints).all(axis=2) & (people.keypoint_scores > 0)
    found = np.where(present[..., None], people.keypoints, 0.0)
    alike = np.where(
        counts[:, None] & present[None], similarity(xy[:, None], found[None], areas[:, None], sigmas), 0.0
    )
    return alike.sum(axis=2) / counts.sum(axis=1)[:, None]


class TrackingMetric:
    """Accumulates the frames of one or more videos and computes their metrics together.

    Args:
        keypoints: KeypointMeta or its config; defines K and the OKS tolerances.
        min_oks: Minimum OKS of a match between a true person and one found, above 0 and at most 1.

    Raises:
        ImportError: trackeval is not installed.
        ValueError: ``min_oks`` is out of range.
    """

    def __init__(self, keypoints: KeypointMeta | Mapping[str, Any], min_oks: float = 0.5) -> None:
        try:
            from trackeval.metrics import CLEAR, HOTA, Identity
        except ImportError as error:
            raise ImportError("TrackingMetric needs the package trackeval: pip install trackeval") from error
        if not 0 < min_oks <= 1:
            raise ValueError(f"min_oks: expected a number above 0 and at most 1, got {min_oks}")
        self.keypoints, self.min_oks = KeypointMeta.build(keypoints), min_oks
        options = {"THRESHOLD": min_oks, "PRINT_CONFIG": False}
        self._metrics = {"clear": CLEAR(options), "identity": Identity(options), "hota": HOTA()}
        self._videos: dict[Hashable, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    def add(self, video: Hashable, truth: TruePeople, people: People, ids: np.ndarray) -> None:
        """Add the next frame of a video.

        Args:
            video: Name of the video; ids are compared within a video only.
            truth: The true people.
            people: The people found.
            ids: (N,) their ids; people with an id below 0 do not count as found.

        Raises:
            ValueError: Shapes do not match, or an id occurs twice.
        """
        ids = np.asarray(ids)
        for what, keypoints, numbers in (
            ("true", truth.keypoints, truth.ids),
            ("found", people.keypoints, ids),
        ):
            if keypoints.shape[1:] != (self.keypoints.num_keypoints, 2) or numbers.shape != (len(keypoints),):
                raise ValueError(
                    f"{what} people: expected keypoints (N, {self.keypoints.num_keypoints}, 2) and ids (N,), "
                    f"got {keypoints.shape} and {numbers.shape}"
                )
            if len(set(numbers[numbers >= 0].tolist())) != int((numbers >= 0).sum()):
                raise ValueError(f"{what} people: an id occurs twice in a frame: {numbers.tolist()}")
        similarity = match_oks(truth, people, self.keypoints.sigmas)
        ignored: np.ndarray = np.all(truth.visible == 0, axis=1)
        if truth.ignored is not None:
            ignored = ignored | truth.ignored
        counts = (ids >= 0) & ~self._on_ignored(similarity, ignored)
        frame = (np.asarray(truth.ids)[~ignored], ids[counts], similarity[~ignored][:, counts])
        self._videos.setdefault(video, []).append(frame)

    def compute(self) -> dict[str, float]:
        """Return the metrics of all videos together.

        ``IDF1``, ``MOTA`` and ``HOTA`` go up to 1 (MOTA may be negative); ``switches``, ``fragmentations``, ``misses``,
        ``false_people`` and ``true_people`` are counts.
        TrackEval's fragmentations ignore gaps in frames in which no person at all is found.

        Raises:
            ValueError: No frame was added.
        """
        if not self._videos:
            raise ValueError("no frames to evaluate: call add first")
        data = {video: _sequence(frames) for video, frames in self._videos.items()}
        done = {}
        for name, metric in self._metrics.items():
            results = {video: metric.eval_sequence(sequence) for video, sequence in data.items()}
            done[name] = metric.combine_sequences(results)
        clear = done["clear"]
        return {
            "IDF1": float(done["identity"]["IDF1"]),
            "MOTA": float(clear["MOTA"]),
            "HOTA": float(np.mean(done["hota"]["HOTA"])),
            "switches": int(clear["IDSW"]),
            "fragmentations": int(clear["Frag"]),
            "misses": int(clear["CLR_FN"]),
            "false_people": int(clear["CLR_FP"]),
            "true_people": int(clear["CLR_TP"] + clear["CLR_FN"]),
        }

    def _on_ignored(self, similarity: np.ndarray, ignored: np.ndarray) -> np.ndarray:
        """Return (N,) bool, whether a person found is best explained by an ignored true person."""
        hidden = np.zeros(similarity.shape[1], bool)
        if ignored.any() and similarity.size:
            # People who count take precedence.
            worth = np.where(similarity >= self.min_oks, similarity + ~ignored[:, None], 0.0)
            rows, columns = linear_sum_assignment(-worth)
            matched = worth[rows, columns] > 0
            hidden[columns[matched & ignored[rows]]] = True
        return hidden


def _sequence(frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Return the frames of a video in TrackEval's format, with consecutive ids from 0."""
    true_ids = [frame[0] for frame in frames]
    found_ids = [frame[1] for frame in frames]
    all_true, all_found = np.unique(np.concatenate(true_ids)), np.unique(np.concatenate(found_ids))
    return {
        "num_timesteps": len(frames),
        "num_gt_dets": sum(map(len, true_ids)),
        "num_tracker_dets": sum(map(len, found_ids)),
        "num_gt_ids": len(all_true),
        "num_tracker_ids": len(all_found),
        "gt_ids": [np.searchsorted(all_true, ids) for ids in true_ids],
        "tracker_ids": [np.searchsorted(all_found, ids) for ids in found_ids],
        "similarity_scores": [frame[2] for frame in frames],
    }
