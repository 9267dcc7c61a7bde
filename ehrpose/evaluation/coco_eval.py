"""COCO's keypoint evaluation by pycocotools, or by hotcoco, and similarity by keypoint type."""

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

NUMBERS = ("AP", "AP50", "AP75", "AP_M", "AP_L", "AR", "AR50", "AR75", "AR_M", "AR_L")


def check_fast_evaluator() -> None:
    """Raise ImportError unless hotcoco can be imported."""
    if importlib.util.find_spec("hotcoco") is None:
        raise ImportError("use_fast_eval=True needs the package hotcoco: pip install hotcoco")


def evaluate(
    truth: Mapping[str, Any],
    detections: Sequence[Mapping],
    image_ids: Sequence[int],
    sigmas: np.ndarray,
    fast: bool = False,
) -> dict[str, float]:
    """Return COCO's ten keypoint numbers, 0 to 1; -1 where no annotated person is of a size.

    Args:
        truth: Content of a COCO json.
        detections: People in COCO's submission form; none at all gives zeros.
        image_ids: Images that count.
        sigmas: (K,) OKS tolerances.
        fast: Use hotcoco instead of pycocotools; the numbers are the same.
    """
    if not detections:
        print_log("no people were found in any image: all numbers are 0", "current", logging.WARNING)
        return dict.fromkeys(NUMBERS, 0.0)
    truth = {"info": {}, **truth}
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
        parameters.imgIds = sorted(image_ids)
        evaluation.params = parameters
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(NUMBERS, evaluation.stats)}


def keypoint_similarity(
    truth: Mapping[str, Any],
    by_image: Mapping[int, Mapping[str, Any]],
    sigmas: np.ndarray,
    min_oks: float = 0.5,
) -> np.ndarray:
    """Return (K,) mean similarity ``exp(-d**2 / (2 area (2 sigma)**2))`` of labelled keypoints.

    It is the mean over the people that were found: each prediction, best score first, takes the annotated person
    left over with the highest OKS of at least ``min_oks``. NaN for a type that was never labelled on one.
    """
    annotations = defaultdict(list)
    for annotation in truth["annotations"]:
        if not annotation.get("iscrowd") and any(annotation["keypoints"][2::3]):
            annotations[annotation["image_id"]].append(annotation)
    total, count = np.zeros(len(sigmas)), np.zeros(len(sigmas))
    for image_id, result in by_image.items():
        people = annotations[image_id]
        if not people:
            continue
        labels = np.array([a["keypoints"] for a in people], np.float64).reshape(len(people), -1, 3)
        area = np.array([a["area"] for a in people]) + np.spacing(1)
        labelled, free = labels[..., 2] > 0, np.ones(len(people), bool)
        for n in np.argsort(-result["scores"], kind="stable"):
            distance = ((result["people"][n, :, :2] - labels[..., :2]) ** 2).sum(axis=2)
            similarity = np.exp(-distance / (2 * area[:, None] * (2 * np.asarray(sigmas, np.float64)) ** 2))
            oks = np.where(free, (similarity * labelled).sum(axis=1) / labelled.sum(axis=1), -1)
            best = int(oks.argmax())
            if oks[best] >= min_oks:
                free[best] = False
                total += similarity[best] * labelled[best]
                count += labelled[best]
    return np.divide(total, count, out=np.full(len(sigmas), np.nan), where=count > 0)
