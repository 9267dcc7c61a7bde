"""How often a classifier is right: top-1, top-5, by class, and which classes it takes for which."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from ehrpose.files import write_text
from ehrpose.registry import METRICS


@METRICS.register_module()
class AccuracyMetric(BaseMetric):
    """Share of images whose class is among the likeliest ones, 0 to 1: ``top1``, ``top5``, ``mean_class``.

    An image that could not be read counts as wrong. ``mean_class`` is the mean of the classes' own top-1.

    Args:
        topk: Numbers of likeliest classes that count as right.
        per_class: Also return ``class_NAME``, the top-1 of each class that has images.
        confusion_file: Picture of the confusion matrix to write, ``.png`` or ``.jpg``; None: none.
        outfile_prefix: Path of a JSON file of the answers without ``.labels.json``; None: no file.
        format_only: Only write the answers, for images without labels.
        prefix: Prefix of the metric names.
        collect_device: Device on which the results of several processes are collected.

    Raises:
        ValueError: ``topk`` has a number below 1, ``format_only`` lacks ``outfile_prefix``, or an answer is not
            finite.
    """

    default_prefix = "accuracy"

    def __init__(
        self,
        topk: Sequence[int] = (1, 5),
        per_class: bool = False,
        confusion_file: str | None = None,
        outfile_prefix: str | None = None,
        format_only: bool = False,
        prefix: str | None = None,
        collect_device: str = "cpu",
    ):
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not topk or min(topk) < 1:
            raise ValueError(f"topk must be numbers from 1, got {topk}")
        if format_only and not outfile_prefix:
            raise ValueError("format_only=True needs outfile_prefix, the path of the result file")
        self.topk, self.per_class, self.confusion_file = tuple(topk), per_class, confusion_file
        self.outfile_prefix, self.format_only = outfile_prefix, format_only

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Collect the answers and the labels of a batch."""
        for sample in data_samples:
            scores = np.asarray(sample["pred_scores"])
            if not np.isfinite(scores).all():
                raise ValueError(f"the scores of image {sample.get('img_id')} contain NaN or infinity")
            label = int(sample.get("gt_label", -1))
            bad = bool(sample.get("bad_image"))
            # Place of the right class among the answers, from 0; classes of equal score are before it.
            place = int((scores > scores[label]).sum() + (scores == scores[label]).sum() - 1)
            self.results.append(
                {
                    "image": str(sample.get("img_path") or sample.get("img_id")),
                    "label": label,
                    "answer": -1 if bad else int(scores.argmax()),
                    "score": float(scores.max()),
                    "place": len(scores) if bad or label < 0 else place,
                    "number": len(scores),
                }
            )

    def compute_metrics(self, results: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Return the metrics by name."""
        names = self._names(results)
        if self.outfile_prefix:
            answers = [
                {"image": r["image"], "label": names[r["answer"]] if r["answer"] >= 0 else None,
                 "score": round(r["score"], 6)}
                for r in results
            ]  # fmt: skip
            write_text(f"{self.outfile_prefix}.labels.json", json.dumps(answers))
        if self.format_only:
            return {}
        places = np.array([r["place"] for r in results])
        matrix = confusion_matrix(results, len(names))
        total = np.bincount([r["label"] for r in results], minlength=len(names))
        seen = total > 0
        own = np.diag(matrix)[seen] / total[seen]
        metrics = {f"top{k}": float((places < k).mean()) for k in self.topk}
        metrics["mean_class"] = float(own.mean())
        if self.per_class:
            chosen = [name for name, is_seen in zip(names, seen) if is_seen]
            metrics.update({f"class_{name}": float(v) for name, v in zip(chosen, own)})
        if self.confusion_file:
            self._draw(matrix, names)
        return metrics

    def _names(self, results: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the names of the classes, or their numbers where the data set has no names for them."""
        known = list((self.dataset_meta or {}).get("classes") or ())
        number = max(result["number"] for result in results)
        return known if len(known) == number else [str(label) for label in range(number)]

    def _draw(self, matrix: np.ndarray, names: Sequence[str]) -> None:
        from ehrpose.visualization.confusion import draw_confusion
        from ehrpose.visualization.drawing import write_picture

        write_picture(str(self.confusion_file), draw_confusion(matrix, names))


def confusion_matrix(results: Sequence[Mapping[str, Any]], number: int) -> np.ndarray:
    """Return how many images of each class (row) were taken for each class (column), (C, C) int64."""
    matrix = np.zeros((number, number), np.int64)
    for result in results:
        if result["answer"] >= 0 and result["label"] >= 0:
            matrix[result["label"], result["answer"]] += 1
    return matrix
