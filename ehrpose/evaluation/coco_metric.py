"""COCO's keypoint numbers: average precision and recall over object keypoint similarity (OKS).

Source: the COCO keypoint evaluation; pycocotools computes, so the numbers are the official ones.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from ehrpose.datasets.keypoint_meta import KeypointMeta
from ehrpose.evaluation.coco_eval import check_fast_evaluator, evaluate, keypoint_similarity
from ehrpose.registry import METRICS


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """COCO keypoint AP and AR.

    Args:
        ann_file: Json with the ground truth; None gathers it from the samples' ``raw_anns``.
        keypoints: KeypointMeta or its config; gives the OKS tolerances.
        format_only: Write the result file, measure nothing (for a test set without labels).
        outfile_prefix: Path of the result file without ``.keypoints.json``; None writes none.
        per_keypoint: Also give ``OKS_<name>``, the mean similarity of each keypoint type over the people found.
        use_fast_eval: Compute with hotcoco, which gives the same numbers faster on large sets.
        prefix: Prefix of the names.
        collect_device: Where the results of several processes meet.

    Raises:
        ValueError: ``format_only`` without ``outfile_prefix``, or a prediction is not finite.
        FileNotFoundError: There is no ``ann_file``.
        ImportError: ``use_fast_eval`` without hotcoco.
    """

    default_prefix = "coco"

    def __init__(
        self,
        keypoints: Any,
        ann_file: str | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        per_keypoint: bool = False,
        use_fast_eval: bool = False,
        prefix: str | None = None,
        collect_device: str = "cpu",
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        if format_only and not outfile_prefix:
            raise ValueError("format_only=True needs outfile_prefix, the path of the result file")
        if ann_file is not None and not Path(ann_file).is_file():
            raise FileNotFoundError(f"annotation file not found: {ann_file}")
        self.meta = KeypointMeta.build(keypoints)
        self.ann_file = ann_file
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.per_keypoint = per_keypoint
        self.use_fast_eval = use_fast_eval
        if use_fast_eval:
            check_fast_evaluator()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Take the predictions, and the ground truth, of some images."""
        for sample in data_samples:
            people = sample["pred_instances"]
            keypoints, scores = np.asarray(people["keypoints"]), np.asarray(people["keypoint_scores"])
            if not (np.isfinite(keypoints).all() and np.isfinite(scores).all()):
                raise ValueError(f"the predictions for image {sample['img_id']} hold NaN or infinity")
            height, width = sample.get("ori_shape", (0, 0))[:2]
            self.results.append(
                {
                    "image": {"id": sample["img_id"], "height": int(height), "width": int(width)},
                    "annotations": sample.get("raw_anns", []),
                    "people": np.concatenate([keypoints, scores[..., None]], axis=2).astype(np.float64),
                    "scores": np.asarray(people["bbox_scores"], np.float64),
                }
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the ten numbers by name."""
        by_image = {result["image"]["id"]: result for result in results}
        detections = [
            {
                "image_id": image_id,
                "category_id": 1,
                "keypoints": np.round(person, 3).ravel().tolist(),
                "score": float(score),
            }
            for image_id, result in by_image.items()
            for person, score in zip(result["people"], result["scores"])
        ]
        if self.outfile_prefix:
            write_json(detections, f"{self.outfile_prefix}.keypoints.json")
        if self.format_only:
            return {}
        truth = self._ground_truth(by_image)
        numbers = evaluate(truth, detections, list(by_image), self.meta.sigmas, self.use_fast_eval)
        if self.per_keypoint:
            similarity = keypoint_similarity(truth, by_image, self.meta.sigmas)
            numbers.update({f"OKS_{name}": float(v) for name, v in zip(self.meta.names, similarity)})
        return numbers

    def _ground_truth(self, by_image: dict) -> dict:
        if self.ann_file is not None:
            return json.loads(Path(self.ann_file).read_text())
        return {
            "images": [result["image"] for result in by_image.values()],
            "annotations": [a for result in by_image.values() for a in result["annotations"]],
            "categories": [{"id": 1, "name": "person"}],
        }


def write_json(content: Any, path: str) -> None:
    """Write a json file beside its place, then rename it."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    beside.write_text(json.dumps(content))
    os.replace(beside, target)
