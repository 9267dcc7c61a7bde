"""Build a model from a config and a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from ehrpose.config import INFERENCE_PARTS, check, load_config, merge_options, resolve
from ehrpose.model_zoo import find_model, is_model_name
from ehrpose.models.weights.checkpoint import load_checkpoint
from ehrpose.registry import MODELS


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
        check(config, INFERENCE_PARTS)
    else:
        config = load_config(config, cfg_options, INFERENCE_PARTS)
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
