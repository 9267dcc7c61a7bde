"""COCO keypoint metrics: average precision and recall over object keypoint similarity (OKS).

Source: the COCO keypoint evaluation; computed by pycocotools, so the numbers are the official ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from mmengine.evaluator import BaseMetric

from ehrpose.datasets.coco_json import load_json
from ehrpose.evaluation.coco_eval import (
    ANNOTATION_FIELDS,
    check_fast_evaluator,
    evaluate,
    keypoint_similarity,
    person_category,
    prepare_truth,
)
from ehrpose.files import write_text
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.registry import METRICS


@METRICS.register_module()
class CocoMetric(BaseMetric):
    """COCO keypoint AP and AR over the predicted images.

    Metrics are -1 (undefined, as in pycocotools) without annotated people and 0 without detections.

    Args:
        ann_file: JSON with the ground truth; None collects it from the samples' ``raw_anns``.
        keypoints: KeypointMeta or its config; defines the OKS tolerances.
        format_only: Only write the result file, without evaluation (for a test set without labels).
        outfile_prefix: Path of the result file without ``.keypoints.json``; None: no file.
        per_keypoint: Also return ``OKS_<name>``, the mean similarity of each keypoint type over the people found.
        use_fast_eval: Compute with hotcoco: the same numbers, faster on large datasets.
        max_dets: Number of best people per image that count; COCO's is 20.
        score_mode: How people are ranked: ``"bbox"``: by their score; ``"bbox_keypoint"``: by that times the mean score
            of their keypoints above ``keypoint_score_thr``.
        keypoint_score_thr: See ``score_mode``, 0 to 1.
        prefix: Prefix of the metric names.
        collect_device: Device on which the results of several processes are collected.

    Raises:
        ValueError: ``format_only`` without ``outfile_prefix``, an unknown ``score_mode``, ``max_dets`` below 1, a
            prediction that is not finite or of another skeleton, or ground truth that is missing or invalid.
        FileNotFoundError: ``ann_file`` does not exist.
        ImportError: ``use_fast_eval`` without hotcoco.
    """

    default_prefix = "coco"
    # Whether a stored num_keypoints that is smaller than the number of labelled keypoints is kept.
    stored_counts: ClassVar[bool] = False

    def __init__(
        self,
        keypoints: Any,
        ann_file: str | None = None,
        format_only: bool = False,
        outfile_prefix: str | None = None,
        per_keypoint: bool = False,
        use_fast_eval: bool = False,
        max_dets: int = 20,
        score_mode: str = "bbox",
        keypoint_score_thr: float = 0.2,
        prefix: str | None = None,
        collect_device: str = "cpu",
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        if format_only and not outfile_prefix:
            raise ValueError("format_only=True needs outfile_prefix, the path of the result file")
        if score_mode not in ("bbox", "bbox_keypoint"):
            raise ValueError(f"score_mode must be 'bbox' or 'bbox_keypoint', got {score_mode!r}")
        if max_dets < 1:
            raise ValueError(f"max_dets must be at least 1, got {max_dets}")
        if ann_file is not None and not Path(ann_file).is_file():
            raise FileNotFoundError(f"annotation file not found: {ann_file}")
        self.meta = KeypointMeta.build(keypoints)
        self.ann_file = ann_file
        self.format_only = format_only
        self.outfile_prefix = outfile_prefix
        self.per_keypoint = per_keypoint
        self.max_dets = max_dets
        self.score_mode = score_mode
        self.keypoint_score_thr = keypoint_score_thr
        self.use_fast_eval = use_fast_eval
        if use_fast_eval:
            check_fast_evaluator()

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect the predictions and the ground truth of a batch."""
        for sample in data_samples:
            image_id = sample["img_id"]
            people, scores = self._people(sample["pred_instances"], image_id)
            self.results.append(
                {
                    "image": self._image(sample),
                    "annotations": self._annotations(sample),
                    "people": people,
                    "scores": scores,
                }
            )

    def _image(self, sample: dict) -> dict[str, Any]:
        """Return a sample's entry in the ground truth's list ``images``."""
        image_id = sample["img_id"]
        height, width = sample.get("ori_shape", (0, 0))[:2]
        return {
            "id": image_id.item() if isinstance(image_id, np.generic) else image_id,
            "height": int(height),
            "width": int(width),
        }

    def _people(self, instances: Any, image_id: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, K, 3) x, y, score, and the (N,) scores by which people are ranked."""
        keypoints, scores = np.asarray(instances["keypoints"]), np.asarray(instances["keypoint_scores"])
        ranks = np.asarray(instances["bbox_scores"], np.float64)
        expected = (len(ranks), self.meta.num_keypoints)
        if keypoints.shape != (*expected, 2) or scores.shape != expected:
            raise ValueError(
                f"image {image_id}: expected keypoints {(*expected, 2)} and scores {expected} for the skeleton "
                f"{self.meta.dataset_name!r}, got {keypoints.shape} and {scores.shape}"
            )
        if not all(np.isfinite(a).all() for a in (keypoints, scores, ranks)):
            raise ValueError(f"the predictions for image {image_id} contain NaN or infinity")
        if self.score_mode == "bbox_keypoint":
            counts = scores > self.keypoint_score_thr
            ranks = ranks * (scores * counts).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
        return np.concatenate([keypoints, scores[..., None]], axis=2).astype(np.float64), ranks

    def _annotations(self, sample: dict) -> list[dict]:
        """Return the fields of a sample's annotations that the evaluation needs."""
        if self.ann_file is not None or self.format_only:
            return []
        if "raw_anns" not in sample:
            raise ValueError(
                f"image {sample['img_id']} has no 'raw_anns': pass ann_file to CocoMetric, or add 'raw_anns' to "
                f"meta_keys of PackPose"
            )
        return [{key: ann[key] for key in ANNOTATION_FIELDS if key in ann} for ann in sample["raw_anns"]]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the metrics by name."""
        by_image = {result["image"]["id"]: result for result in results}
        truth = self._ground_truth(by_image)
        category = self._named(person_category, truth, self.meta.num_keypoints, self.meta.names)
        detections = [
            {
                "image_id": image_id,
                "category_id": category,
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
        truth = self._named(
            prepare_truth, truth, list(by_image), self.meta.num_keypoints, self.meta.names, self.stored_counts
        )
        truth = self._complete(truth)
        numbers = self._numbers(truth, detections)
        if self.per_keypoint:
            similarity = keypoint_similarity(truth, by_image, self.meta.sigmas)
            numbers.update({f"OKS_{name}": float(v) for name, v in zip(self.meta.names, similarity)})
        return numbers

    def _named(self, read: Callable[..., Any], *args: Any) -> Any:
        """Return ``read(*args)``; errors in the ground truth name its file."""
        try:
            return read(*args)
        except ValueError as error:
            raise ValueError(f"{self.ann_file}: {error}" if self.ann_file else str(error)) from error

    def _complete(self, truth: dict) -> dict:
        """Return the prepared ground truth as the evaluation expects it; for datasets that deviate from COCO's."""
        return truth

    def _numbers(self, truth: dict, detections: list[dict]) -> dict[str, float]:
        """Return COCO's ten metrics.

        Args:
            truth: Ground truth from ``prepare_truth``.
            detections: People in COCO's result format.
        """
        return evaluate(truth, detections, self.meta.sigmas, self.use_fast_eval, self.max_dets)

    def _ground_truth(self, by_image: dict) -> dict:
        if self.ann_file is not None:
            truth = dict(load_json(Path(self.ann_file)))
            if not isinstance(truth.get("images"), list):
                raise ValueError(f"{self.ann_file}: expected COCO format with a list 'images'")
            return truth
        return {
            "images": [result["image"] for result in by_image.values()],
            "annotations": [a for result in by_image.values() for a in result["annotations"]],
        }


def write_json(content: Any, path: str) -> None:
    """Write a JSON file atomically."""
    write_text(path, json.dumps(content))
