"""The short way in: a model from a config and a checkpoint, people from photos."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import Compose

from ehrpose.data_sample import PoseDataSample
from ehrpose.image_io import check_image
from ehrpose.inference.inferencer import PoseInferencer as PoseInferencer
from ehrpose.media.inputs import list_images as list_images
from ehrpose.models.loading import init_model as init_model
from ehrpose.people_json import people_to_dicts
from ehrpose.people_json import write_predictions as write_predictions
from ehrpose.registry import TRANSFORMS
from ehrpose.structures import People

__all__ = [
    "PoseInferencer",
    "inference",
    "init_model",
    "list_images",
    "sample_people",
    "to_predictions",
    "write_predictions",
]


def inference(
    model: Any, images: str | Path | np.ndarray | Sequence[Any], batch_size: int = 1
) -> list[PoseDataSample]:
    """Find the people of photos.

    Args:
        model: A model of ``init_model``.
        images: One photo or several: file names or (H, W, 3) uint8 BGR arrays.
        batch_size: Photos that run through the network at once where their shapes agree.

    Returns:
        One sample per photo; ``pred_instances`` in photo pixels, best person first.

    Raises:
        ImageReadError: A file is missing or no photo.
        ValueError: An array has another shape or type, or ``batch_size`` is below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    photos = [images] if isinstance(images, (str, Path, np.ndarray)) else list(images)
    steps = model.cfg.test_dataloader.dataset.pipeline
    pipeline = Compose([TRANSFORMS.build(step) for step in steps])
    samples: list[PoseDataSample] = []
    for start in range(0, len(photos), batch_size):
        items = [
            pipeline(_as_item(photo, start + i)) for i, photo in enumerate(photos[start : start + batch_size])
        ]
        batch = {key: [item[key] for item in items] for key in ("inputs", "data_samples")}
        with torch.no_grad():
            samples += model.test_step(batch)
    return samples


def _as_item(photo: Any, number: int) -> dict[str, Any]:
    if not isinstance(photo, np.ndarray):
        return {"img_id": number, "img_path": str(photo)}
    height, width = check_image(photo).shape[:2]
    return {"img_id": number, "img": photo, "width": width, "height": height}


def to_predictions(sample: PoseDataSample, min_score: float = 0.0) -> list[dict[str, Any]]:
    """Return the people of a sample as plain lists, in MMPose's form.

    Args:
        sample: A sample of ``inference``.
        min_score: People below it are left out.
    """
    return people_to_dicts(sample.people(), min_score)


def sample_people(sample: PoseDataSample) -> People:
    """Return the people of a sample; the same as ``sample.people()``."""
    return sample.people()
