"""Make a resumed run equal to one that was never interrupted."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from torch import nn

from ehrpose.engine.seeding import seed_process
from ehrpose.registry import HOOKS

GRADIENTS = "accumulated_gradients"


@HOOKS.register_module()
class ExactResumeHook(Hook):
    """Seed each training iteration by its number, and keep gradients that are still being accumulated.

    PoseRunner registers it by itself. In several processes the accumulated gradients are those of the first one, so
    there a checkpoint should fall on a whole number of updates.
    """

    priority = "VERY_HIGH"

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        seed_process(runner.seed, get_rank(), runner.iter)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if "optimizer" not in checkpoint:  # a best checkpoint: weights alone
            return
        # MMEngine counts in its optimizer wrapper, which starts again from the iteration when resumed.
        if runner.optim_wrapper.should_update():
            return
        gradients = {n: p.grad.cpu() for n, p in _bare(runner.model).named_parameters() if p.grad is not None}
        checkpoint[GRADIENTS] = gradients

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        if not runner._resume or GRADIENTS not in checkpoint:
            return
        gradients = checkpoint.pop(GRADIENTS)
        for name, parameter in _bare(runner.model).named_parameters():
            if name in gradients:
                parameter.grad = gradients[name].to(parameter)


def _bare(model: nn.Module) -> nn.Module:
    return model.module if is_model_wrapper(model) else model
