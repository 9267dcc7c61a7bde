"""Stop a training that no longer gets better; a resumed run stops where an uninterrupted one does."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.hooks import EarlyStoppingHook as StockEarlyStoppingHook

from ehrpose.registry import HOOKS

STATE = "early_stopping"


@HOOKS.register_module()
class EarlyStoppingHook(StockEarlyStoppingHook):
    """MMEngine's hook with exact resume, the right defaults for AP, and a checkpoint of where it stops.

    Args:
        monitor: Metric, as in the log.
        rule: ``"greater"`` if larger is better, or ``"less"``.
        min_delta: Smallest change that counts as better, in the metric's unit, from 0.
        patience: Number of validations without a better value after which the training ends, at least 1.
        stopping_threshold: End as soon as the metric is better than this; None never does.
        strict: Refuse a metric that the validation does not give.
        check_finite: End if the metric is not finite.

    Raises:
        ValueError: An argument is outside its range, or the validation has no such metric.
    """

    # Before the hook of checkpoints, whose files contain its state.
    priority = "LOW"

    def __init__(
        self,
        monitor: str = "coco/AP",
        rule: str = "greater",
        min_delta: float = 0.002,
        patience: int = 5,
        stopping_threshold: float | None = None,
        strict: bool = True,
        check_finite: bool = True,
    ):
        if patience < 1:
            raise ValueError(f"patience must be at least 1, got {patience}")
        if min_delta < 0:
            raise ValueError(f"min_delta must be at least 0, got {min_delta}")
        super().__init__(monitor, rule, min_delta, strict, check_finite, patience, stopping_threshold)

    def before_run(self, runner: Any) -> None:
        if getattr(runner, "_train_loop", None) is not None:  # a test alone has none
            super().before_run(runner)

    def before_train(self, runner: Any) -> None:
        if runner.val_loop is None:
            runner.logger.warning("early stopping has no effect without validation")
        state = runner.message_hub.runtime_info.get(STATE)
        if runner.iter and state is not None:
            self.best_score, self.wait_count = state["best_score"], state["wait_count"]
            runner.train_loop.stop_training = state["stopped"]

    def after_val_epoch(self, runner: Any, metrics: dict) -> None:
        """Decide whether to stop, and keep the decision for checkpoints."""
        if self.strict and self.monitor not in metrics:
            raise ValueError(
                f"early stopping: unknown metric {self.monitor!r}; available: {', '.join(metrics)}"
            )
        if runner._train_loop is None or isinstance(runner._train_loop, dict):  # a validation alone
            return
        super().after_val_epoch(runner, metrics)
        state = {
            "best_score": self.best_score,
            "wait_count": self.wait_count,
            "stopped": runner.train_loop.stop_training,
        }
        runner.message_hub.update_info(STATE, state)

    def after_train(self, runner: Any) -> None:
        """Save a checkpoint of where the run stopped, if there is none."""
        loop = runner.train_loop
        if not loop.stop_training or loop.iter >= loop.max_iters:
            return
        meta = {"epoch": runner.epoch, "iter": runner.iter}
        for hook in runner.hooks:
            if isinstance(hook, CheckpointHook) and hook.save_last:
                step = runner.epoch if hook.by_epoch else runner.iter
                hook._save_checkpoint_with_step(runner, step, meta=meta)
