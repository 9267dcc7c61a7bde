"""One line that shows how a training goes; plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ehrpose.registry import HOOKS


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show iteration, losses and the time that is left.

    Args:
        every: Seconds between two plain lines where the output is no terminal, from 0.
        smooth: Weight of the past in the losses shown, 0 to below 1.
    """

    priority = "LOW"

    def __init__(self, every: float = 10.0, smooth: float = 0.9):
        self.every = every
        self.smooth = smooth
        self.losses: dict[str, float] = {}
        self._bar: Progress | None = None
        self._task: Any = None
        self._start = self._printed = 0.0
        self._first_iter = 0
        self._console: Console | None = None

    def before_train(self, runner: Any) -> None:
        self._start = self._printed = time.monotonic()
        self._first_iter = runner.iter
        self.losses = {}
        if not is_main_process():
            return
        self._console = Console(stderr=True)
        if self._console.is_terminal:
            columns = (
                *(TextColumn("training"), BarColumn(), TextColumn("{task.completed}/{task.total}")),
                *(TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn()),
                TextColumn("{task.fields[losses]}"),
            )
            self._bar = Progress(*columns, console=self._console)
            self._task = self._bar.add_task("", total=runner.max_iters, completed=runner.iter, losses="")
            self._bar.start()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        if not is_main_process():
            return
        for name, value in (outputs or {}).items():
            if "loss" in name:
                value = float(value.detach() if hasattr(value, "detach") else value)
                self.losses[name] = self.smooth * self.losses.get(name, value) + (1 - self.smooth) * value
        done = runner.iter + 1
        if self._bar is not None:
            self._bar.update(self._task, completed=done, losses=self._losses())
        elif time.monotonic() - self._printed >= self.every or done == runner.max_iters:
            self._printed = time.monotonic()
            left = self._left(done, runner.max_iters)
            self._print(f"{done}/{runner.max_iters} {self._losses()} left {left}")

    def after_val_epoch(self, runner: Any, metrics: Mapping[str, Any] | None = None) -> None:
        if is_main_process() and metrics:
            shown = [(k, v) for k, v in metrics.items() if isinstance(v, (int, float))][:3]
            numbers = " ".join(f"{name} {value:.3f}" for name, value in shown)
            self._print(f"validation after {runner.iter} iterations: {numbers}")

    def after_train(self, runner: Any) -> None:
        self._stop()

    def after_run(self, runner: Any) -> None:
        self._stop()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _print(self, line: str) -> None:
        console = self._bar.console if self._bar is not None else self._console or Console(stderr=True)
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _losses(self) -> str:
        return " ".join(f"{name} {value:.4f}" for name, value in self.losses.items())

    def _left(self, done: int, total: int) -> str:
        rate = (time.monotonic() - self._start) / max(done - self._first_iter, 1)
        minutes, seconds = divmod(round(rate * (total - done)), 60)
        return f"{minutes}:{seconds:02d}"
