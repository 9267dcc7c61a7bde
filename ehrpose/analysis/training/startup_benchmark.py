"""Time of a training run from the command to its first step, its last step and its validation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from mmengine.hooks import Hook

from ehrpose.config import load_config
from ehrpose.engine.runner import build_runner
from ehrpose.files import temporary_folder


class _StartTimes(Hook):
    """Note the times when the dataset is ready and when the first step, the last step and validation are done."""

    priority = "LOWEST"

    def __init__(self, times: dict[str, float]):
        self.times = times

    def _note(self, name: str) -> None:
        self.times.setdefault(name, time.perf_counter())

    def before_train(self, runner: Any) -> None:
        self._note("dataset and workers")

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self._note("first step")

    def before_val_epoch(self, runner: Any) -> None:
        self._note("all steps")

    def after_val_epoch(self, runner: Any, metrics: Mapping | None = None) -> None:
        self._note("validation")


def print_startup_times(config: str, steps: int, photos: int, started: float) -> None:
    """Train ``steps`` iterations, validate on ``photos`` photos and print the seconds of each part.

    Args:
        config: Config file with an iteration-based training loop.
        steps: Training steps.
        photos: Validation photos.
        started: ``time.perf_counter()`` before the first import.

    Raises:
        ValueError: The config trains by epochs.
    """
    imported = time.perf_counter()
    cfg = load_config(config)
    if "max_iters" not in cfg.train_cfg:
        raise ValueError(f"{config} trains by epochs: expected an iteration-based training loop")
    options = {
        "train_cfg.max_iters": steps,
        "train_cfg.val_interval": steps,
        "val_dataloader.dataset.indices": photos,
    }
    cfg.merge_from_dict(options)
    times: dict[str, float] = {}
    with temporary_folder() as work_dir:
        runner = build_runner(cfg, work_dir)
        built = time.perf_counter()
        runner.register_hook(_StartTimes(times))
        runner.train()
    moments = [("imports", started, imported), ("config and runner", imported, built)]
    before = built
    for name, moment in times.items():
        moments.append((name, before, moment))
        before = moment
    print(f"\n{'seconds for':<24}{'each':>8}{'total':>8}")
    for name, begin, end in moments:
        print(f"{name:<24}{end - begin:>8.1f}{end - started:>8.1f}")
