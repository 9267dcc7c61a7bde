"""The short way in: a model from a config and a checkpoint, people from photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from ehrpose.config import check, load_config, merge_options, resolve
from ehrpose.data_sample import PoseDataSample
from ehrpose.inferencer import PoseInferencer as PoseInferencer
from ehrpose.media.inputs import checked_array
from ehrpose.media.inputs import list_images as list_images
from ehrpose.model_zoo import find_model, is_model_name
from ehrpose.models.checkpoint import load_checkpoint
from ehrpose.predictions import people_to_dicts
from ehrpose.predictions import write_predictions as write_predictions
from ehrpose.registry import MODELS, TRANSFORMS
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


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    cfg_options: Mapping[str, Any] | None = None,
) -> Any:
    """Build a model, ready to find people.

    Args:
        config: Config file, a Config of ``load_config``, or the name of a model of the zoo.
        checkpoint: Weights; None leaves them random, or takes those of the zoo's model.
        device: ``"cpu"``, ``"cuda:0"``, ...
        cfg_options: Dotted keys and values that replace those of the config file.

    Returns:
        The estimator in eval mode, with the resolved config as ``model.cfg``.

    Raises:
        FileNotFoundError: Config or checkpoint is missing.
        ValueError: The config is wrong, the checkpoint does not fit, or there is no such model or device.
    """
    if is_model_name(config):
        model_of_zoo = find_model(str(config))
        config = model_of_zoo.config
        if checkpoint is None:
            model_of_zoo.check()
            checkpoint = model_of_zoo.checkpoint
    if isinstance(config, Config):
        config = Config(config.to_dict(), filename=config.filename)
        merge_options(config, cfg_options)
        check(config)
    else:
        config = load_config(config, cfg_options)
    cfg = resolve(config)
    model = MODELS.build(cfg.model)
    if checkpoint is not None:
        load_checkpoint(model, str(checkpoint))
    try:
        model = model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    model.cfg = cfg
    return model.eval()


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
    height, width = checked_array(photo).shape[:2]
    return {"img_id": number, "img": photo, "width": width, "height": height}


def to_predictions(sample: PoseDataSample, min_score: float = 0.0) -> list[dict[str, Any]]:
    """Return the people of a sample as plain lists, in MMPose's form.

    Args:
        sample: A sample of ``inference``.
        min_score: People below it are left out.
    """
    return people_to_dicts(sample_people(sample), min_score)


def sample_people(sample: PoseDataSample) -> People:
    """Return the predictions of a sample, in photo pixels."""
    found = sample.pred_instances
    return People(found.keypoints, found.keypoint_scores, found.bbox_scores)
