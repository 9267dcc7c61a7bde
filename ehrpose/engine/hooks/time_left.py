"""The time that a training still takes, validations included."""

from __future__ import annotations

import time
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop

ETA = "eta"


class TimeLeftHook(Hook):
    """Replace MMEngine's ETA, which leaves out validations, in the log and in ``ProgressBarHook``.

    It is the iterations left times their mean duration, with loading data and saving checkpoints, plus the validations
    left times theirs. Only what this process did counts, so what was done before a resume does not. Before the first
    validation its duration is unknown, and the ETA lacks it. PoseRunner registers the hook automatically.
    """

    # Between IterTimerHook, whose ETA it replaces, and LoggerHook.
    priority = 55

    def __init__(self) -> None:
        self._mark = self._begin = 0.0
        self._training = self._validating = 0.0
        self._iterations = self._validations = 0

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        # Before the first one lies what does not come again: workers start, a resumed run finds its place in the data.
        if not self._iterations:
            self._mark = time.monotonic()

    def before_val(self, runner: Any) -> None:
        self._begin = time.monotonic()
        if self._iterations:
            self._training += self._begin - self._mark

    def after_val(self, runner: Any) -> None:
        self._mark = time.monotonic()
        self._validating += self._mark - self._begin
        self._validations += 1

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Set the ETA in seconds."""
        now = time.monotonic()
        self._training += now - self._mark
        self._mark = now
        self._iterations += 1
        left = (runner.max_iters - runner.iter - 1) * self._training / self._iterations
        if self._validations:
            left += validations_left(runner, runner.iter + 1) * self._validating / self._validations
        runner.message_hub.update_info(ETA, left)


def validations_left(runner: Any, done: int) -> int:
    """Return the number of validations from the one that is due after ``done`` iterations, if any, to the last."""
    loop = runner.train_loop
    if runner.val_loop is None:
        return 0
    by_epoch = isinstance(loop, EpochBasedTrainLoop)
    first = -(-done // len(loop.dataloader)) if by_epoch else done
    last, interval = (loop.max_epochs if by_epoch else loop.max_iters), loop.val_interval
    first = max(first, loop.val_begin)
    regular = last // interval - (first - 1) // interval if first <= last else 0
    return regular + (last % interval != 0 and first <= last)
