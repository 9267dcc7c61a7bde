"""Stop a run with a non-finite loss before it reaches the weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ehrpose.engine.checkpoint import CheckpointError
from ehrpose.registry import HOOKS


class NonFiniteLossError(RuntimeError):
    """A loss is nan or infinite."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Check every loss between forward and backward, and the weights before they are saved.

    Raises:
        NonFiniteLossError: A loss is not finite; the message names it and the images of the batch.
        CheckpointError: The weights to be saved are not finite.
    """

    # Sees a checkpoint last, so after EMAHook has inserted its weights.
    priority = "VERY_LOW"

    def __init__(self) -> None:
        self._images: list[str] = []
        self._place = ""
        self._handle: Any = None

    def before_train(self, runner: Any) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        self._handle = model.register_forward_hook(self._check)

    def after_train(self, runner: Any) -> None:
        self._handle.remove()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._images = image_names(data_batch)
        self._place = f"epoch {runner.epoch + 1}, iteration {runner.iter + 1}"

    def _check(self, model: Any, inputs: Any, losses: Any) -> None:
        if not (model.training and isinstance(losses, Mapping)):
            return
        names, values = [], []
        for name, value in losses.items():
            if "loss" in name:  # MMEngine's rule for which values are summed
                terms = value if isinstance(value, (list, tuple)) else [value]
                names.append(name)
                values.append(sum(term.detach().float().mean() for term in terms))
        if not values or bool(torch.isfinite(stacked := torch.stack(values)).all()):
            return
        bad = ", ".join(f"{n} is {v:g}" for n, v in zip(names, stacked.tolist()) if not math.isfinite(v))
        images = ", ".join(self._images) or "unknown"
        raise NonFiniteLossError(
            f"{bad} at {self._place}; images of the batch: {images}. The run stops "
            "before this batch changes the weights; the last checkpoint is unaffected"
        )

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        for name, value in checkpoint["state_dict"].items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                raise CheckpointError(f"{name} contains non-finite values; the weights are not saved")


def image_names(data_batch: Any) -> list[str]:
    """Return ``img_path``, or else ``img_id``, of the samples of a batch."""
    samples = data_batch.get("data_samples") if isinstance(data_batch, Mapping) else None
    names = []
    for sample in samples or ():
        name = sample.get("img_path") or f"img_id {sample.get('img_id', 'unknown')}"
        names.append(str(name))
    return names
