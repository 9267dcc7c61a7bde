"""Build a model from a config and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ehrpose.config import INFERENCE_PARTS, check, load_config, merge_options, resolve
from ehrpose.model_zoo import find_model, is_model_name
from ehrpose.models.weights.checkpoint import load_checkpoint, read_checkpoint
from ehrpose.registry import MODELS
from ehrpose.torch_threads import before_torch_computes


def init_model(
    config: str | Path | Config,
    checkpoint: str | Path | None = None,
    device: str = "cpu",
    cfg_options: Mapping[str, Any] | None = None,
) -> Any:
    """Build a model for inference.

    Args:
        config: Config file, a Config from ``load_config``, or the name of a zoo model.
        checkpoint: Weights; None leaves them random, or loads those of the zoo model, fetched on first use.
        device: ``"cpu"``, ``"cuda:0"``, ...
        cfg_options: Dotted keys and values that override those of the config file.

    Returns:
        The estimator in eval mode, with the resolved config as ``model.cfg``.

    Raises:
        FileNotFoundError: Config or checkpoint does not exist.
        ValueError: The config is invalid, the checkpoint does not fit, the model is unknown, its weights cannot be
            fetched, or the device is not available.
    """
    if is_model_name(config):
        zoo_model = find_model(str(config))
        if checkpoint is None or zoo_model.config is None:
            from ehrpose.models.weights.arrival import local_weights

            checkpoint = local_weights(zoo_model)
        assert zoo_model.config is not None  # local_weights refuses such models
        config = zoo_model.config
    if isinstance(config, Config):
        config = Config(config.to_dict(), filename=config.filename)
        merge_options(config, cfg_options)
        check(config, INFERENCE_PARTS)
    else:
        config = load_config(config, cfg_options, INFERENCE_PARTS)
    cfg = resolve(config)
    before_torch_computes()
    model = MODELS.build(cfg.model)
    if checkpoint is not None:
        load_checkpoint(model, str(checkpoint))
    try:
        model = model.to(torch.device(device))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device {device!r} cannot be used: {str(error).splitlines()[0]}") from error
    model.cfg = cfg
    return model.eval()


def class_names(filename: str | Path) -> tuple[str, ...]:
    """Return the names of the classes that a classifier was trained on; none if its checkpoint does not say."""
    meta = read_checkpoint(filename).get("meta") or {}
    return tuple(map(str, (meta.get("dataset_meta") or meta).get("classes") or ()))
