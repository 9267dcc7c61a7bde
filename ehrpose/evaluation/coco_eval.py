"""COCO keypoint evaluation with pycocotools or hotcoco, and similarity per keypoint type."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log

from ehrpose.datasets.coco_fields import objects, person_categories, read_categories, read_images
from ehrpose.datasets.coco_json import read_people
from ehrpose.oks import mean_similarity, similarity

NUMBERS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")
# Annotation fields that the evaluation reads; segmentations are dropped.
ANNOTATION_FIELDS = (
    "id",
    "image_id",
    "category_id",
    "iscrowd",
    "keypoints",
    "num_keypoints",
    "bbox",
    "area",
)


def check_fast_evaluator() -> None:
    """Raise ImportError unless hotcoco can be imported."""
    if importlib.util.find_spec("hotcoco") is None:
        raise ImportError("use_fast_eval=True needs the package hotcoco: pip install hotcoco")


def person_category(truth: Mapping[str, Any], num_keypoints: int, names: Sequence[str] | None = None) -> int:
    """Return the smallest id of the categories with this skeleton, as ``prepare_truth`` uses it.

    If no category lists keypoints, all categories count; without categories the id is COCO's 1.
    """
    categories = objects(truth, "categories")
    if not categories:
        ids = {ann.get("category_id", 1) for ann in objects(truth, "annotations")}
        return min(ids, default=1)
    fitting = person_categories(categories, _names(categories, num_keypoints, names))
    return min(fitting if fitting is not None else read_categories(categories), key=_number_first)


def _number_first(category_id: Any) -> tuple[bool, Any]:
    return isinstance(category_id, str), category_id


def _names(categories: Sequence[Mapping], num_keypoints: int, names: Sequence[str] | None) -> Sequence[str]:
    """Return the names, or else those of the first category with as many keypoints."""
    if names is not None:
        return names
    skeletons = read_categories(categories)
    fitting = sorted((i for i, s in skeletons.items() if len(s) == num_keypoints), key=_number_first)
    return skeletons[fitting[0]] if fitting else [f"keypoint {k}" for k in range(num_keypoints)]


def prepare_truth(
    truth: Mapping[str, Any],
    image_ids: Sequence[int],
    num_keypoints: int,
    names: Sequence[str] | None = None,
    stored_counts: bool = False,
) -> dict[str, Any]:
    """Return the relevant part of a COCO JSON, in a form that all evaluators read the same way.

    People are read by the rules of ``ehrpose.datasets.coco_fields``, as in training: keypoints outside their photo are
    not labelled, a missing box or area is made, ``num_keypoints`` is counted. All categories with this skeleton are
    merged into one. Annotations are renumbered from 1, since pycocotools takes the id 0 for "not matched" and confuses
    people who share an id.

    Args:
        truth: Content of a COCO JSON.
        image_ids: Images to evaluate.
        num_keypoints: K of the skeleton.
        names: K keypoint names; None: those of the first category with K keypoints.
        stored_counts: Keep a stored ``num_keypoints`` that is smaller than the number of labelled keypoints.

    Raises:
        ValueError: An image is not in ``truth``, or the file or an annotation is invalid.
    """
    selected = set(image_ids)
    images = read_images(objects(truth, "images"), need_files=False)
    unknown = selected - set(images)
    if unknown:
        raise ValueError(
            f"{len(unknown)} predicted images are not in the ground truth, for example {next(iter(unknown))}: "
            f"use the same ann_file for the metric and the dataset"
        )
    category = person_category(truth, num_keypoints, names)
    names = _names(objects(truth, "categories"), num_keypoints, names)
    read = read_people(truth, images, names, stored_counts, selected).annotations
    people: list[dict[str, Any]] = []
    for ann in read:
        kept = {key: ann[key] for key in ANNOTATION_FIELDS if key in ann}
        people.append(
            {
                **{"keypoints": [0] * (3 * num_keypoints), "num_keypoints": 0, **kept},
                **{"id": len(people) + 1, "category_id": category},
            }
        )
    if not any(a["num_keypoints"] and not a["iscrowd"] for a in people):
        print_log("no person is annotated in any image: all metrics are -1", "current", logging.WARNING)
    return {
        "info": {},
        "images": [image for image in truth["images"] if image["id"] in selected],
        "annotations": people,
        "categories": [{"id": category, "name": "person"}],
    }


def evaluate(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping],
    sigmas: np.ndarray,
    fast: bool = False,
    max_dets: int = 20,
) -> dict[str, float]:
    """Return COCO's ten keypoint metrics, 0 to 1; -1 if no person, or none of that size, is annotated.

    Args:
        truth: Ground truth from ``prepare_truth``.
        detections: People in COCO's result format; without any, metrics are 0 if people are annotated.
        sigmas: (K,) OKS tolerances.
        fast: Use hotcoco instead of pycocotools; the numbers are the same.
        max_dets: Number of best people per image that count; COCO's is 20.
    """
    if not any(a["num_keypoints"] and not a["iscrowd"] for a in truth["annotations"]):
        return dict.fromkeys(NUMBERS, -1.0)
    if not detections:
        print_log("no person was found in any image: all metrics are 0", "current", logging.WARNING)
        return dict.fromkeys(NUMBERS, 0.0)
    with contextlib.redirect_stdout(io.StringIO()):
        if fast:
            package: Any = importlib.import_module("hotcoco")
            coco = package.COCO(truth)
        else:
            package = importlib.import_module("pycocotools.cocoeval")
            coco = importlib.import_module("pycocotools.coco").COCO()
            coco.dataset = truth
            coco.createIndex()
        evaluation = package.COCOeval(coco, coco.loadRes(list(detections)), "keypoints")
        parameters = evaluation.params
        tolerances = np.asarray(sigmas, np.float64)
        parameters.kpt_oks_sigmas = tolerances.tolist() if fast else tolerances
        parameters.imgIds = sorted(image["id"] for image in truth["images"])
        parameters.maxDets = [max_dets]
        evaluation.params = parameters
        evaluation.evaluate()
        evaluation.accumulate()
    return _summarize(np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"]))


def _summarize(precision: np.ndarray, recall: np.ndarray) -> dict[str, float]:
    """Return the metrics from precision (T, R, 1, A, 1) and recall (T, 1, A, 1) at OKS 0.50, 0.55, ... 0.95.

    A: all, medium, large. COCOeval's own summary only supports 20 people per image.
    """
    numbers = {}
    for name, table in (("AP", precision[..., 0, :, 0]), ("AR", recall[:, 0, :, 0])):
        all_sizes = table[..., 0]
        parts = (all_sizes, all_sizes[0], all_sizes[5], table[..., 1], table[..., 2])
        for suffix, part in zip(("", "50", "75", "_M", "_L"), parts):
            known = part[part > -1]
            numbers[name + suffix] = float(known.mean()) if known.size else -1.0
    return numbers


def labelled_people(truth: Mapping[str, Any]) -> dict[Any, tuple[np.ndarray, np.ndarray]]:
    """Return the (N, K, 3) labels and (N,) areas of the annotated people by image, without crowds."""
    annotations = defaultdict(list)
    for annotation in truth["annotations"]:
        if not annotation.get("iscrowd") and any(annotation["keypoints"][2::3]):
            annotations[annotation["image_id"]].append(annotation)
    return {
        image_id: (
            np.array([a["keypoints"] for a in people], np.float64).reshape(len(people), -1, 3),
            np.array([a["area"] for a in people]) + np.spacing(1),
        )
        for image_id, people in annotations.items()
    }


def match_people(
    labels: np.ndarray,
    area: np.ndarray,
    predictions: Sequence[np.ndarray],
    sigmas: np.ndarray,
    min_oks: float,
) -> list[tuple[int, int]]:
    """Return (prediction, person) indices of each match.

    In the given order, each prediction (K, 2) takes the remaining person with the highest OKS, at least ``min_oks``.
    """
    labelled, free, matches = labels[..., 2] > 0, np.ones(len(labels), bool), []
    for n, predicted in enumerate(predictions):
        oks = np.where(free, mean_similarity(predicted, labels[..., :2], area, sigmas, labelled), -1)
        best = int(oks.argmax())
        if oks[best] >= min_oks:
            free[best] = False
            matches.append((n, best))
    return matches


def keypoint_similarity(
    truth: Mapping[str, Any],
    by_image: Mapping[int, Mapping[str, Any]],
    sigmas: np.ndarray,
    min_oks: float = 0.5,
) -> np.ndarray:
    """Return the (K,) mean similarity ``exp(-d**2 / (2 area (2 sigma)**2))`` of labelled keypoints.

    ``truth`` comes from ``prepare_truth``. The mean is over the people found: each prediction, best score first, takes
    the remaining annotated person with the highest OKS, at least ``min_oks``. NaN for a type that is
    labelled on none of them.
    """
    total, count = np.zeros(len(sigmas)), np.zeros(len(sigmas))
    people = labelled_people(truth)
    for image_id, result in by_image.items():
        if image_id not in people:
            continue
        labels, area = people[image_id]
        ranked = result["people"][np.argsort(-result["scores"], kind="stable"), :, :2]
        for n, person in match_people(labels, area, ranked, sigmas, min_oks):
            labelled = labels[person, :, 2] > 0
            total += similarity(ranked[n], labels[person, :, :2], area[person], sigmas) * labelled
            count += labelled
    return np.divide(total, count, out=np.full(len(sigmas), np.nan), where=count > 0)
