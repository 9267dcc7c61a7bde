"""High-level API: build a model, run it on images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.data_sample import PoseDataSample
from ehrpose.inferencers.inferencer import PoseInferencer as PoseInferencer
from ehrpose.inferencers.options import check_count
from ehrpose.inferencers.predictors import TorchPredictor
from ehrpose.media.inputs import list_images as list_images
from ehrpose.models.loading import init_model as init_model
from ehrpose.people_json import people_to_dicts
from ehrpose.people_json import write_predictions as write_predictions
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
    """Find the people in photos.

    The test pipeline is built on the first call for a model, cached, and rebuilt if
    ``model.cfg.test_dataloader.dataset.pipeline`` has changed since.

    Args:
        model: A model from ``init_model``.
        images: One photo or several: file names or (H, W, 3) uint8 BGR arrays.
        batch_size: Photos per forward pass, if their input shapes agree.

    Returns:
        One sample per photo; ``pred_instances`` are in photo pixels, best person first.

    Raises:
        ImageReadError: A file is missing or not an image.
        ValueError: An array has the wrong shape or dtype, or ``batch_size`` is not a whole number of at least 1.
    """
    check_count("batch_size", batch_size, 1)
    photos = [images] if isinstance(images, (str, Path, np.ndarray)) else list(images)
    predictor = TorchPredictor(model)
    samples: list[PoseDataSample] = []
    for start in range(0, len(photos), batch_size):
        samples += predictor.samples(photos[start : start + batch_size], first_id=start)
    return samples


def to_predictions(sample: PoseDataSample, min_score: float = 0.0) -> list[dict[str, Any]]:
    """Return the people of a sample as plain lists, in MMPose's format.

    Args:
        sample: A sample from ``inference``.
        min_score: People below this score are dropped.
    """
    return people_to_dicts(sample.people(), min_score)


def sample_people(sample: PoseDataSample) -> People:
    """Return the people of a sample; the same as ``sample.people()``."""
    return sample.people()
