"""Make a resumed run equal to one that was never interrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from ehrpose.engine.seeding import seed_process
from ehrpose.registry import HOOKS

GRADIENTS = "accumulated_gradients"
META = "dataset_meta"


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Seed each training iteration by its number, keep gradients that are still being accumulated, save plain data.

    What a checkpoint holds beside tensors, such as the data set's keypoint metadata, becomes dicts and lists, so
    that it loads where only plain data is allowed.

    PoseRunner registers it by itself. In several processes the accumulated gradients are those of the first
    one, so there a checkpoint should fall on a whole number of updates.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        seed_process(runner.seed, get_rank(), runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        for holder in (checkpoint["meta"], checkpoint["message_hub"]["runtime_info"]):
            if META in holder:
                holder[META] = plain(holder[META])
        if "optimizer" not in checkpoint:  # a best checkpoint: weights alone
            return
        # MMEngine counts in its optimizer wrapper, which starts again from the iteration when resumed.
        if runner.optim_wrapper.should_update():
            return
        gradients = {n: p.grad.cpu() for n, p in _bare(runner.model).named_parameters() if p.grad is not None}
        checkpoint[GRADIENTS] = gradients

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if not runner._resume:
            return
        # MMEngine warns of another data set unless the two are pickled alike.
        metainfo = getattr(runner.train_dataloader.dataset, "metainfo", None)
        if checkpoint["meta"].get(META) == plain(metainfo):
            checkpoint["meta"][META] = metainfo
        if GRADIENTS not in checkpoint:
            return
        gradients = checkpoint.pop(GRADIENTS)
        for name, parameter in _bare(runner.model).named_parameters():
            if name in gradients:
                parameter.grad = gradients[name].to(parameter)


def plain(value: Any) -> Any:
    """Return a value as dicts, lists, numbers and strings: data classes by field, arrays by element."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    return value


def _bare(model: Any) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
