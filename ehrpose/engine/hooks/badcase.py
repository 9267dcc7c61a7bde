"""The photos of a test with the worst predictions."""

from __future__ import annotations

import heapq
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.hooks import Hook
from scipy.optimize import linear_sum_assignment

from ehrpose.counted import counted
from ehrpose.data_sample import PoseDataSample
from ehrpose.engine.hooks.visualization import photo_of
from ehrpose.files import write_text
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.oks import mean_similarity
from ehrpose.registry import HOOKS

BAD_CASES = "badcases.json"


class BadCase(NamedTuple):
    """A photo and how well its people were found.

    Attributes:
        oks: Mean object keypoint similarity, 0 to 1.
        img_id: The photo's id.
        num_people: Annotated people with keypoints.
        num_found: People found.
        file: Name of the drawn image.
    """

    oks: float
    img_id: Any
    num_people: int
    num_found: int
    file: str


@HOOKS.register_module()
class BadCaseHook(Hook):
    """Draw the worst photos of a test, annotations left and predictions right, and list them in badcases.json.

    A photo's score is the mean OKS over its annotated people, matched to the predictions so that the sum is highest;
    unmatched people count as 0. Photos without annotated people and surplus predictions are ignored.

    Args:
        out_dir: Folder for the drawn images and the list; created if missing.
        keypoints: KeypointMeta or its config.
        count: Number of photos, at least 1.

    Raises:
        ValueError: ``count`` is below 1.
    """

    def __init__(self, out_dir: str, keypoints: Any, count: int = 20):
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        self.out_dir = Path(out_dir)
        self.count = count
        self.sigmas = KeypointMeta.build(keypoints).sigmas.astype(np.float64)
        self._worst: list[tuple[float, int, BadCase, PoseDataSample, Any]] = []
        self._seen = 0

    def before_test_epoch(self, runner: Any) -> None:
        self._worst, self._seen = [], 0

    def after_test_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Keep the samples that may be among the worst."""
        for place, sample in enumerate(outputs or ()):
            self._seen += 1
            score = photo_oks(sample, self.sigmas)
            if score is None:
                continue
            name = Path(sample.get("img_path") or str(sample.img_id)).stem
            case = BadCase(
                score,
                sample.img_id,
                len(sample.gt_instances.keypoints),
                len(sample.pred_instances.keypoints),
                f"{score:.3f}_{name}.jpg",
            )
            # The photo is read again from its file; without one, the input is kept.
            inputs = None if sample.get("img_path") else data_batch["inputs"][place]
            entry = (-score, -self._seen, case, sample, inputs)
            (heapq.heappush if len(self._worst) < self.count else heapq.heappushpop)(self._worst, entry)

    def after_test_epoch(self, runner: Any, metrics: dict | None = None) -> None:
        """Draw and list the worst of all processes."""
        cases = [case for part in all_gather_object([entry[2] for entry in self._worst]) for case in part]
        chosen = sorted(cases, key=lambda case: case.oks)[: self.count]
        files = {case.file for case in chosen}
        self.out_dir.mkdir(parents=True, exist_ok=True)
        for _, _, case, sample, inputs in self._worst:
            if case.file in files:
                runner.visualizer.add_datasample(
                    Path(case.file).stem,
                    np.ascontiguousarray(photo_of(sample, inputs)[..., ::-1]),
                    sample,
                    out_file=str(self.out_dir / case.file),
                )
        if is_main_process():
            content = [case._asdict() for case in chosen]
            write_text(self.out_dir / BAD_CASES, json.dumps(content, indent=1))
            runner.logger.info(
                f"drawn into {self.out_dir}: {counted(len(chosen), 'photo')} with the lowest OKS"
            )
        self._worst = []


def photo_oks(sample: PoseDataSample, sigmas: np.ndarray) -> float | None:
    """Return the mean OKS of a photo's annotated people, 0 to 1; None if no person has annotated keypoints.

    Args:
        sample: With ``gt_instances`` (keypoints, visible, areas) and ``pred_instances``, in px of the photo.
        sigmas: (K,) OKS tolerances.
    """
    truth = sample.get("gt_instances")
    if truth is None:
        return None
    labelled = np.asarray(truth.visible) > 0
    wanted = labelled.any(axis=1)
    if not wanted.any():
        return None
    found = np.asarray(sample.pred_instances.keypoints, np.float64)
    if not len(found):
        return 0.0
    xy, labelled = np.asarray(truth.keypoints, np.float64)[wanted], labelled[wanted]
    areas = np.maximum(np.asarray(truth.areas, np.float64)[wanted], 1.0)
    oks = mean_similarity(xy[:, None], found[None], areas[:, None], sigmas, labelled[:, None])
    rows, columns = linear_sum_assignment(oks, maximize=True)
    return float(oks[rows, columns].sum() / len(oks))
