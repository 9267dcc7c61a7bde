"""COCO's keypoint numbers: average precision and recall over object keypoint similarity (OKS).

Source: the COCO keypoint evaluation; pycocotools computes, so the numbers are the official ones.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

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
    """COCO keypoint AP and AR over the images that were predicted.

    Numbers are -1, pycocotools' word for undefined, where nobody is annotated, and 0 where nobody was found.

    Args:
        ann_file: Json with the ground truth; None gathers it from the samples' ``raw_anns``.
        keypoints: KeypointMeta or its config; gives the OKS tolerances.
        format_only: Write the result file, measure nothing (for a test set without labels).
        outfile_prefix: Path of the result file without ``.keypoints.json``; None writes none.
        per_keypoint: Also give ``OKS_<name>``, the mean similarity of each keypoint type over the people found.
        use_fast_eval: Compute with hotcoco, which gives the same numbers faster on large sets.
        max_dets: The best people of an image that count; COCO's is 20.
        score_mode: What ranks people: ``"bbox"`` the person's score, ``"bbox_keypoint"`` that times the mean score of
            its keypoints above ``keypoint_score_thr``.
        keypoint_score_thr: See ``score_mode``, 0 to 1.
        prefix: Prefix of the names.
        collect_device: Where the results of several processes meet.

    Raises:
        ValueError: ``format_only`` without ``outfile_prefix``, an unknown ``score_mode``, ``max_dets`` below 1, a
            prediction that is not finite or of another skeleton, or ground truth that is missing or broken.
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
        """Take the predictions, and the ground truth, of some images."""
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
        """Return the entry of a sample in the list ``images`` of the ground truth."""
        image_id = sample["img_id"]
        height, width = sample.get("ori_shape", (0, 0))[:2]
        return {
            "id": image_id.item() if isinstance(image_id, np.generic) else image_id,
            "height": int(height),
            "width": int(width),
        }

    def _people(self, instances: Any, image_id: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return (N, K, 3) x, y, score and the (N,) scores that rank people."""
        keypoints, scores = np.asarray(instances["keypoints"]), np.asarray(instances["keypoint_scores"])
        ranks = np.asarray(instances["bbox_scores"], np.float64)
        wanted = (len(ranks), self.meta.num_keypoints)
        if keypoints.shape != (*wanted, 2) or scores.shape != wanted:
            raise ValueError(
                f"image {image_id}: wanted keypoints {(*wanted, 2)} and scores {wanted} for the skeleton "
                f"{self.meta.dataset_name!r}, got {keypoints.shape} and {scores.shape}"
            )
        if not all(np.isfinite(a).all() for a in (keypoints, scores, ranks)):
            raise ValueError(f"the predictions for image {image_id} hold NaN or infinity")
        if self.score_mode == "bbox_keypoint":
            counts = scores > self.keypoint_score_thr
            ranks = ranks * (scores * counts).sum(axis=1) / np.maximum(counts.sum(axis=1), 1)
        return np.concatenate([keypoints, scores[..., None]], axis=2).astype(np.float64), ranks

    def _annotations(self, sample: dict) -> list[dict]:
        """Return what the evaluation needs of a sample's annotations."""
        if self.ann_file is not None or self.format_only:
            return []
        if "raw_anns" not in sample:
            raise ValueError(
                f"image {sample['img_id']} came without 'raw_anns': give CocoMetric an ann_file, or keep 'raw_anns' "
                f"in meta_keys of PackPose"
            )
        return [{key: ann[key] for key in ANNOTATION_FIELDS if key in ann} for ann in sample["raw_anns"]]

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the numbers by name."""
        by_image = {result["image"]["id"]: result for result in results}
        truth = self._ground_truth(by_image)
        category = person_category(truth, self.meta.num_keypoints)
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
        truth = prepare_truth(self._complete(truth), list(by_image), self.meta.num_keypoints)
        numbers = self._numbers(truth, detections)
        if self.per_keypoint:
            similarity = keypoint_similarity(truth, by_image, self.meta.sigmas)
            numbers.update({f"OKS_{name}": float(v) for name, v in zip(self.meta.names, similarity)})
        return numbers

    def _complete(self, truth: dict) -> dict:
        """Return the ground truth as COCO's evaluation wants it; for data sets whose json is not quite COCO's."""
        return truth

    def _numbers(self, truth: dict, detections: list[dict]) -> dict[str, float]:
        """Return COCO's ten numbers.

        Args:
            truth: Ground truth of ``prepare_truth``.
            detections: People in COCO's submission form.
        """
        return evaluate(truth, detections, self.meta.sigmas, self.use_fast_eval, self.max_dets)

    def _ground_truth(self, by_image: dict) -> dict:
        if self.ann_file is not None:
            try:
                truth = json.loads(Path(self.ann_file).read_bytes())
            except ValueError as error:
                raise ValueError(f"{self.ann_file} is no valid json: {error}") from error
            if not isinstance(truth, dict) or not isinstance(truth.get("images"), list):
                raise ValueError(f"{self.ann_file}: wanted COCO's form with a list 'images'")
            return truth
        return {
            "images": [result["image"] for result in by_image.values()],
            "annotations": [a for result in by_image.values() for a in result["annotations"]],
        }


def write_json(content: Any, path: str) -> None:
    """Write a json file, whole or not at all."""
    write_text(path, json.dumps(content))
