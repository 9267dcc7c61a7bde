"""Samples with annotated and predicted people, and pycocotools' metrics for them."""

from __future__ import annotations

import contextlib
import io

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def make_people(rng, n, k):
    """People of very different sizes in an image of 640 x 480 px."""
    centres = rng.uniform(80, 400, (n, 1, 2))
    keypoints = centres + rng.normal(0, 1, (n, k, 2)) * rng.uniform(8, 60, (n, 1, 1))
    visible = rng.choice([0, 1, 2], (n, k), p=[0.2, 0.2, 0.6])
    visible[:, 0] = 2
    return keypoints, visible


def annotation(number, image_id, keypoints, visible, **more):
    low, high = keypoints.min(axis=0), keypoints.max(axis=0)
    width, height = high - low
    flat = np.concatenate([np.round(keypoints, 2), visible[:, None]], axis=1).ravel().tolist()
    return {
        "id": number,
        "image_id": image_id,
        "category_id": 1,
        "iscrowd": 0,
        "keypoints": flat,
        "num_keypoints": int((visible > 0).sum()),
        "bbox": [*low.tolist(), width, height],
        "area": float(width * height * 0.5),
        **more,
    }


def make_samples(rng, k, images=12, noise=3.0, keep=0.8):
    samples, number = [], 0
    for image_id in range(1, images + 1):
        keypoints, visible = make_people(rng, int(rng.integers(0, 5)), k)
        anns = []
        for person, seen in zip(keypoints, visible):
            number += 1
            anns.append(annotation(number, image_id, person, seen))
        found = rng.random(len(keypoints)) < keep
        predicted = np.concatenate([keypoints[found] + rng.normal(0, noise, keypoints[found].shape),
                                    rng.uniform(0, 400, (1, k, 2))])  # fmt: skip
        samples.append(sample(image_id, anns, predicted, rng.random(len(predicted))))
    return samples


def sample(image_id, anns, keypoints, scores):
    keypoints = np.asarray(keypoints, np.float32)
    people = {
        "keypoints": keypoints,
        "keypoint_scores": np.full(keypoints.shape[:2], 0.9, np.float32),
        "bbox_scores": np.asarray(scores, np.float32),
    }
    return {"img_id": image_id, "ori_shape": (480, 640), "raw_anns": anns, "pred_instances": people}


def run(metric, samples):
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def official(samples, sigmas):
    """Return the ten metrics from pycocotools, used as its authors show."""
    truth = {
        "info": {},
        "images": [{"id": s["img_id"]} for s in samples],
        "annotations": [a for s in samples for a in s["raw_anns"]],
        "categories": [{"id": 1, "name": "person"}],
    }
    detections = []
    for s in samples:
        people = s["pred_instances"]
        for keypoints, scores, score in zip(
            people["keypoints"], people["keypoint_scores"], people["bbox_scores"]
        ):
            flat = (
                np.concatenate([keypoints, scores[:, None]], axis=1)
                .astype(np.float64)
                .round(3)
                .ravel()
                .tolist()
            )
            detections.append(
                {"image_id": s["img_id"], "category_id": 1, "keypoints": flat, "score": float(score)}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = truth
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.asarray(sigmas, np.float64)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats
