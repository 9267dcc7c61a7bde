"""How well people keep their numbers over a video: IDF1, MOTA, switches and fragmentations.

Sources: Ristani et al. 2016, arXiv:1609.01775 (IDF1); Bernardin and Stiefelhagen 2008, CLEAR MOT (MOTA, switches,
fragmentations); Luiten et al. 2021, HOTA. TrackEval computes, so the numbers are the usual ones; people are compared by
OKS, as in COCO.
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
        visible: (G, K), COCO's visibility; 0 does not count.
        ids: (G,) whole numbers, who it is.
        ignored: (G,) bool: need not be found, but may be; also people without a keypoint that counts. None: nobody.
    """

    keypoints: np.ndarray
    visible: np.ndarray
    ids: np.ndarray
    ignored: np.ndarray | None = None


def match_oks(truth: TruePeople, people: People, sigmas: np.ndarray) -> np.ndarray:
    """Return the (G, N) OKS of true people and people found.

    Over the true keypoints that count, or all of a person of whom none does. A keypoint that was not found (score 0, or
    not finite) adds 0. The area is that of the box around all true keypoints, times 0.53 as in COCO.
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
    """Collects the frames of one or more videos and gives their numbers together.

    Args:
        keypoints: KeypointMeta or its config; gives K and the OKS tolerances.
        min_oks: Least OKS of a true person and one found who may be the same, 0 to 1.

    Raises:
        ImportError: trackeval is not installed.
        ValueError: ``min_oks`` is out of its range.
    """

    def __init__(self, keypoints: KeypointMeta | Mapping[str, Any], min_oks: float = 0.5) -> None:
        try:
            from trackeval.metrics import CLEAR, HOTA, Identity
        except ImportError as error:
            raise ImportError("TrackingMetric needs the package trackeval: pip install trackeval") from error
        if not 0 < min_oks <= 1:
            raise ValueError(f"min_oks: wanted a number over 0 and up to 1, got {min_oks}")
        self.keypoints, self.min_oks = KeypointMeta.build(keypoints), min_oks
        options = {"THRESHOLD": min_oks, "PRINT_CONFIG": False}
        self._metrics = {"clear": CLEAR(options), "identity": Identity(options), "hota": HOTA()}
        self._videos: dict[Hashable, list[tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}

    def add(self, video: Hashable, truth: TruePeople, people: People, ids: np.ndarray) -> None:
        """Add the next frame of a video.

        Args:
            video: Name of the video; numbers are compared within a video only.
            truth: The true people.
            people: The people found.
            ids: (N,) their numbers; who has a number below 0 does not count as found.

        Raises:
            ValueError: Shapes disagree, or a number is given twice.
        """
        ids = np.asarray(ids)
        for what, keypoints, numbers in (
            ("true", truth.keypoints, truth.ids),
            ("found", people.keypoints, ids),
        ):
            if keypoints.shape[1:] != (self.keypoints.num_keypoints, 2) or numbers.shape != (len(keypoints),):
                raise ValueError(
                    f"people {what}: wanted keypoints (N, {self.keypoints.num_keypoints}, 2) and ids (N,), "
                    f"got {keypoints.shape} and {numbers.shape}"
                )
            if len(set(numbers[numbers >= 0].tolist())) != int((numbers >= 0).sum()):
                raise ValueError(f"people {what}: a number is given twice in a frame: {numbers.tolist()}")
        similarity = match_oks(truth, people, self.keypoints.sigmas)
        ignored: np.ndarray = np.all(truth.visible == 0, axis=1)
        if truth.ignored is not None:
            ignored = ignored | truth.ignored
        counts = (ids >= 0) & ~self._on_ignored(similarity, ignored)
        frame = (np.asarray(truth.ids)[~ignored], ids[counts], similarity[~ignored][:, counts])
        self._videos.setdefault(video, []).append(frame)

    def compute(self) -> dict[str, float]:
        """Return the numbers of all videos together.

        ``IDF1``, ``MOTA`` and ``HOTA`` go up to 1 (MOTA may be negative); ``switches``, ``fragmentations``, ``misses``,
        ``false_people`` and ``true_people`` are counts.
        TrackEval's fragmentations leave out gaps in frames in which nobody at all is found.

        Raises:
            ValueError: No frame was added.
        """
        if not self._videos:
            raise ValueError("no frame was added")
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
        """Return (N,) whether a person found is best explained by a true one who is ignored."""
        hidden = np.zeros(similarity.shape[1], bool)
        if ignored.any() and similarity.size:
            # Who counts comes first.
            worth = np.where(similarity >= self.min_oks, similarity + ~ignored[:, None], 0.0)
            rows, columns = linear_sum_assignment(-worth)
            matched = worth[rows, columns] > 0
            hidden[columns[matched & ignored[rows]]] = True
        return hidden


def _sequence(frames: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> dict[str, Any]:
    """Return the frames of a video as TrackEval wants them, with ids from 0 without gaps."""
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
