"""Refuse a checkpoint that belongs to another model."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ehrpose.models.checkpoint import state_dict_of
from ehrpose.models.tensor_fit import compare
from ehrpose.registry import HOOKS


@HOOKS.register_module()
class CheckpointFitHook(Hook):
    """Make ``load_from`` and ``--resume`` an error where names or shapes differ; PoseRunner registers it by itself.

    MMEngine alone goes on with random weights in their place, and a log line.
    """

    priority = "HIGHEST"

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Raise ValueError with the first tensor that differs."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        filename = str(runner._load_from or "the checkpoint")
        differences = compare(state_dict_of(checkpoint, filename), model.state_dict())
        if differences:
            raise ValueError(
                f"{filename} does not fit the model: {differences.describe()}. To start from what fits instead: "
                "model.init_cfg=dict(type='Pretrained', checkpoint=..., min_match=0.5)"
            )
