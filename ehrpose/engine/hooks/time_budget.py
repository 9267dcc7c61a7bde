"""Training for a number of minutes: the learning rate follows the clock, and the weights leave in small files."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from mmengine.dist import get_world_size
from mmengine.hooks import EMAHook, Hook
from mmengine.model import is_model_wrapper
from torch import Tensor

from ehrpose.engine.checkpoint import write_weights
from ehrpose.engine.hooks.time_left import ETA
from ehrpose.models.weights.checkpoint import checkpoint_bytes
from ehrpose.models.weights.half import halved
from ehrpose.registry import HOOKS

LATEST = "latest.pth"
# Names of the meta entries of the small files.
MINUTES, PHOTOS = "minutes", "photos"


@HOOKS.register_module()
class TimeBudgetHook(Hook):
    """Stop after some minutes; cosine annealing over all minutes, and a small file of the weights every few.

    The file has the averaged weights if there is an EMAHook, as float16, and no state of the optimizer: it begins
    anew, with a short warm-up, when another run goes on from the file. Configs need no ``param_scheduler``, and a
    number of iterations that is never reached.

    Args:
        minutes: Length of the whole training, also over several runs, above 0.
        out: Folder of ``latest.pth``.
        every: Minutes between two files, above 0.
        spent: Minutes that runs before this one took, photos not counted.
        stop_after: Minutes of this run; None: all that are left.
        seen: Photos that runs before this one saw.
        warm_up: Share of ``minutes`` in which each run's learning rate rises, 0 to below 1.
        end: The last learning rate, as a share of the config's.
        max_mib: Largest size of the file, MiB.

    Raises:
        ValueError: An argument is out of range, nothing is left to do, or the file would be too large.
    """

    # After EMAHook, whose weights are written, and TimeLeftHook, whose estimate does not fit; before LoggerHook.
    priority = 57

    def __init__(
        self,
        minutes: float,
        out: str | os.PathLike,
        every: float = 2.0,
        spent: float = 0.0,
        stop_after: float | None = None,
        seen: int = 0,
        warm_up: float = 0.02,
        end: float = 1e-3,
        max_mib: float = 16.0,
    ):
        if minutes <= 0 or every <= 0 or not 0 <= warm_up < 1 or (stop_after is not None and stop_after <= 0):
            raise ValueError(
                f"expected minutes, every and stop_after above 0 and warm_up from 0 to below 1, got {minutes}, "
                f"{every}, {stop_after} and {warm_up}"
            )
        if not 0 <= spent < minutes:
            raise ValueError(f"all {minutes:g} minutes are spent ({spent:.1f}): set more minutes to go on")
        self.minutes, self.every, self.spent, self.warm_up, self.end = minutes, every, spent, warm_up, end
        self.file, self.max_mib = Path(out, LATEST), max_mib
        self.until = min(minutes, spent + (minutes if stop_after is None else stop_after))
        self.seen_before, self.seen = seen, 0
        self._base: list[float] = []
        self._start = self._written = 0.0

    def before_train(self, runner: Any) -> None:
        if get_world_size() > 1:
            raise ValueError("TimeBudgetHook needs one process, as each has its own clock")
        if runner.param_schedulers:
            raise ValueError("expected param_scheduler=None: TimeBudgetHook sets the learning rate")
        size = len(checkpoint_bytes(halved(self._weights(runner)), {}, ".pth")) / 2**20
        if size > self.max_mib:
            raise ValueError(f"the weights take {size:.1f} MiB as float16: expected at most {self.max_mib:g}")
        self._base = [group["lr"] for group in _groups(runner)]
        _hide_total(runner)
        self._start = self._written = time.monotonic()

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Set the learning rate of the time that has passed."""
        here = self._minutes_here()
        done = min(1.0, (self.spent + here) / self.minutes)
        factor = self.end + (1 - self.end) * (1 + math.cos(math.pi * done)) / 2
        if self.warm_up:
            factor *= min(1.0, max(here / (self.warm_up * self.minutes), 1e-2))
        for group, base in zip(_groups(runner), self._base):
            group["lr"] = base * factor

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Write what is due, and stop in time."""
        self.seen += len(data_batch["inputs"])
        now = self.spent + self._minutes_here()
        runner.message_hub.update_info(ETA, max(0.0, 60 * (self.until - now)))
        if now >= self.until:
            runner.train_loop.stop_training = True
        elif time.monotonic() - self._written >= 60 * self.every:
            self.write(runner)

    def after_train(self, runner: Any) -> None:
        self.write(runner)
        minutes = self._minutes_here()
        runner.logger.info(
            f"{self.seen} photos in {minutes:.1f} minutes, {self.seen / (60 * minutes):.1f} photos/s; "
            f"{self.spent + minutes:.1f} of {self.minutes:g} minutes spent; {self.file}"
        )

    def write(self, runner: Any) -> None:
        """Write the weights, the minutes spent and the photos seen."""
        meta = {
            MINUTES: self.spent + self._minutes_here(),
            PHOTOS: self.seen_before + self.seen,
            "iter": runner.iter,
        }
        write_weights(self.file, halved(self._weights(runner)), meta)
        self._written = time.monotonic()

    def _minutes_here(self) -> float:
        return (time.monotonic() - self._start) / 60

    def _weights(self, runner: Any) -> dict[str, Tensor]:
        averaged = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
        # Before the first step, the average holds nothing yet.
        model = averaged[0] if averaged and self.seen else runner.model
        while is_model_wrapper(model):
            model = model.module
        return {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}


def _groups(runner: Any) -> list[dict[str, Any]]:
    """Return the groups whose learning rate is set: the optimizer's, and the one that is logged for all."""
    wrapper = runner.optim_wrapper
    logged = getattr(wrapper, "base_param_settings", None)
    return [*wrapper.optimizer.param_groups, *([] if logged is None else [logged])]


def _hide_total(runner: Any) -> None:
    """Log the iterations without their total, which is never reached."""
    of_iteration = runner.log_processor.get_log_after_iter

    def without_total(*args: Any, **kwargs: Any) -> tuple[dict, str]:
        tag, text = of_iteration(*args, **kwargs)
        return tag, text.replace(f"/{runner.max_iters}]", "]", 1)

    runner.log_processor.get_log_after_iter = without_total
