"""COCO AP of exported networks, and of others that find people, on photos with a COCO keypoint json."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ehrpose.datasets.coco_json import read_coco_json
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.evaluation.coco_metric import CocoMetric
from ehrpose.image_io import read_image
from ehrpose.inferencers.adapters import open_adapter, split_family
from ehrpose.keypoint_meta import KeypointMeta


def evaluate_runtime(
    runtime: Any,
    ann_file: str | os.PathLike,
    img_dir: str | os.PathLike,
    max_images: int | None = None,
) -> dict[str, float]:
    """Return the ten COCO metrics of an exported network, or of anything that finds people.

    Args:
        runtime: PoseRuntime, or a predictor: with ``predict`` and ``meta``.
        ann_file: COCO keypoint json with the skeleton that the network was trained for.
        img_dir: Folder of the photos.
        max_images: Use only the first photos, at most this many; None: all.

    Raises:
        ImageReadError: A photo is missing or broken.
        ValueError: The json does not match the skeleton.
    """
    meta = KeypointMeta.build(runtime.codec.meta if isinstance(runtime, PoseRuntime) else runtime.meta)
    items = list(read_coco_json(Path(ann_file), meta, need_annotations=True)[0])[:max_images]
    metric = CocoMetric(keypoints=meta)
    for item in items:
        photo = read_image(Path(img_dir) / item["file_name"])
        (people,) = runtime.predict([photo])
        sample: dict[str, Any] = {
            "img_id": item["img_id"],
            "ori_shape": photo.shape[:2],
            "raw_anns": item["raw_anns"],
            "pred_instances": people.to_fields(),
        }
        metric.process({}, [sample])
    return dict(metric.evaluate(len(items)))


def print_evaluation(
    paths: Sequence[str],
    ann_file: str,
    img_dir: str,
    max_images: int | None = None,
    backend: str | None = None,
    num_threads: int | None = None,
    trust_pt2: bool = False,
    size: int | None = None,
) -> None:
    """Print a row for each network; see ``evaluate_runtime``, ``PoseRuntime`` and ``open_adapter``."""
    print("| network | backend | precision | AP | AP50 | AP75 |\n|---|---|---|---|---|---|")
    for path in paths:
        family = split_family(path)
        if family is not None:
            predictor = open_adapter(*family, backend=backend, num_threads=num_threads, size=size)
            found = evaluate_runtime(predictor, ann_file, img_dir, max_images)
            kind, precision = predictor.name.split()[-1], "as in the file"
            predictor.close()
        else:
            with PoseRuntime(path, backend, num_threads=num_threads, trust_pt2=trust_pt2) as runtime:
                found = evaluate_runtime(runtime, ann_file, img_dir, max_images)
                kind, precision = type(runtime.backend).name, runtime.precision
        numbers = " | ".join(f"{found[f'coco/{name}']:.4f}" for name in ("AP", "AP50", "AP75"))
        print(f"| {path} | {kind} | {precision} | {numbers} |", flush=True)
