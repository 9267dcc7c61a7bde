"""Training progress in one line; plain lines without a terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook

from ehrpose.engine.hooks.time_left import ETA
from ehrpose.progress import Progress
from ehrpose.registry import HOOKS


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show iteration, losses and remaining time.

    Args:
        every: Seconds between plain lines if the output is not a terminal, from 0.
        smooth: Weight of past values in the losses shown, 0 to below 1.
    """

    priority = "LOW"

    def __init__(self, every: float = 10.0, smooth: float = 0.9):
        self.every = every
        self.smooth = smooth
        self.losses: dict[str, float] = {}
        self._bar: Progress | None = None
        self._printed = 0.0

    def before_train(self, runner: Any) -> None:
        self._printed = time.monotonic()
        self.losses = {}
        if is_main_process():
            self._bar = Progress(runner.max_iters, "training", done=runner.iter)

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if self._bar is None:
            return
        for name, value in (outputs or {}).items():
            if "loss" in name:
                value = float(value.detach() if hasattr(value, "detach") else value)
                self.losses[name] = self.smooth * self.losses.get(name, value) + (1 - self.smooth) * value
        done = runner.iter + 1
        self._bar.show(done, note=self._losses())
        due = time.monotonic() - self._printed >= self.every or done == runner.max_iters
        if due and not self._bar.is_shown:
            self._printed = time.monotonic()
            self._bar.print(f"{done}/{runner.max_iters} {self._losses()} left {self._left(runner)}")

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, Any] | None = None) -> None:
        if self._bar is not None and metrics:
            shown = [(k, v) for k, v in metrics.items() if isinstance(v, (int, float))][:3]
            numbers = " ".join(f"{name} {value:.3f}" for name, value in shown)
            self._bar.print(f"validation after {runner.iter} iterations: {numbers}")

    def after_train(self, runner: Any) -> None:
        self._end()

    def after_run(self, runner: Any) -> None:
        self._end()

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.end()

    def _losses(self) -> str:
        return " ".join(f"{name} {value:.4f}" for name, value in self.losses.items())

    def _left(self, runner: Any) -> str:
        minutes, seconds = divmod(round(runner.message_hub.get_info(ETA, 0.0)), 60)
        return f"{minutes}:{seconds:02d}"
