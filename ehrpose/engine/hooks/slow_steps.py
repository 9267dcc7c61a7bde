"""A warning when training steps take ten times as long as before."""

from __future__ import annotations

from typing import Any

import torch
from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ehrpose.registry import HOOKS
from ehrpose.slow_steps import SlowSteps


@HOOKS.register_module()
class SlowStepHook(Hook):
    """Warn in one line, with the probable cause, if training steps become ten times slower; see ``SlowSteps``.

    Validation, saving checkpoints and the start of an epoch do not count. PoseRunner registers the hook automatically.
    """

    # Steps end before what other hooks do after them.
    priority = "VERY_HIGH"

    def __init__(self) -> None:
        self._steps = SlowSteps("training steps", on_cpu=not torch.cuda.is_available())

    def before_train_epoch(self, runner: Any) -> None:
        self._steps.pause()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._steps.begin()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        line = self._steps.end()
        if line is not None and is_main_process():
            runner.logger.warning(line)

    def before_save_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        self._steps.pause()

    def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
        self._steps.pause()
