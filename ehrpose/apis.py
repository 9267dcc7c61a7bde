"""The short way in: a model from a config and a checkpoint, people from photos."""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose

from ehrpose.config import check, load_config, resolve
from ehrpose.data_sample import PoseDataSample
from ehrpose.models.checkpoint import load_checkpoint
from ehrpose.registry import MODELS, TRANSFORMS

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    cfg_options: Mapping[str, Any] | None = None,
) -> Any:
    """Build a model, ready to find people.

    Args:
        config: Config file, or a Config of ``load_config``.
        checkpoint: Weights; None leaves them random.
        device: ``"cpu"``, ``"cuda:0"``, ...
        cfg_options: Dotted keys and values that replace those of the config file.

    Returns:
        The estimator in eval mode, with the resolved config as ``model.cfg``.

    Raises:
        FileNotFoundError: Config or checkpoint is missing.
        ValueError: The config is wrong, the checkpoint does not fit, or there is no such device.
    """
    if isinstance(config, Config):
        config = Config(config.to_dict(), filename=config.filename)
        config.merge_from_dict(dict(cfg_options or {}))
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
    if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or 0 in photo.shape:
        raise ValueError(f"a photo must be a (H, W, 3) uint8 BGR array, got {photo.shape} {photo.dtype}")
    height, width = photo.shape[:2]
    return {"img_id": number, "img": photo, "width": width, "height": height}


def list_images(path: str | Path) -> list[Path]:
    """Return the photos that ``path`` names: a file, a folder's photos, or a glob's matches, sorted.

    Raises:
        FileNotFoundError: There is none.
    """
    text = str(path)
    if Path(text).is_dir():
        visible = (p for p in sorted(Path(text).iterdir()) if p.is_file() and not p.name.startswith("."))
        found = [p for p in visible if p.suffix.lower() in IMAGE_SUFFIXES]
        what = f"no photos ({', '.join(IMAGE_SUFFIXES)}) in the folder {text}"
    elif Path(text).is_file():
        return [Path(text)]
    else:
        found = [Path(name) for name in sorted(glob.glob(text, recursive=True)) if Path(name).is_file()]
        what = f"no photo, folder or glob match: {text}"
    if not found:
        raise FileNotFoundError(what)
    return found


def to_predictions(sample: PoseDataSample, min_score: float = 0.0) -> list[dict[str, Any]]:
    """Return the people of a sample as plain lists, in MMPose's form.

    Args:
        sample: A sample of ``inference``.
        min_score: People below it are left out.
    """
    people = sample.pred_instances
    rows: Iterable = zip(people.keypoints, people.keypoint_scores, people.bboxes, people.bbox_scores)
    return [
        {
            "keypoints": np.round(keypoints, 2).tolist(),
            "keypoint_scores": np.round(scores, 4).tolist(),
            "bbox": [np.round(box, 2).tolist()],
            "bbox_score": round(float(score), 4),
        }
        for keypoints, scores, box, score in ((np.asarray(a, np.float64) for a in row) for row in rows)
        if score >= min_score
    ]


def write_predictions(predictions: list[dict[str, Any]], path: str | Path) -> None:
    """Write people to a json file, whole or not at all."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.part")
    beside.write_text(json.dumps(predictions))
    beside.replace(target)
