"""One set of batch-norm statistics for all processes."""

from __future__ import annotations

from typing import Any

import torch.distributed
from mmengine.hooks import EMAHook, Hook
from torch.nn.modules.batchnorm import _BatchNorm

from ehrpose.registry import HOOKS


@HOOKS.register_module()
class SyncStatisticsHook(Hook):
    """Average the running statistics over the processes before they are saved or used.

    Each process sees its own images, so without this every one would validate with a network of its own.
    PoseRunner registers it where there are several processes.
    """

    priority = "NORMAL"

    def __init__(self) -> None:
        self._same = False

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._same = False

    def before_val_epoch(self, runner: Any) -> None:  # in iteration-based training, within an epoch
        self._average(runner)

    def after_train_epoch(self, runner: Any) -> None:
        self._average(runner)

    def _average(self, runner: Any) -> None:
        if self._same:
            return
        models = [runner.model, *(hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))]
        for model in models:
            for module in model.modules():
                if isinstance(module, _BatchNorm) and module.track_running_stats:
                    for statistic in (module.running_mean, module.running_var):
                        assert statistic is not None
                        torch.distributed.all_reduce(statistic)
                        statistic.div_(torch.distributed.get_world_size())
        self._same = True
