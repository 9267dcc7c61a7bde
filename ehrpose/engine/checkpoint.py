"""Checkpoints that are written atomically and that fit the model."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import is_model_wrapper
from torch import Tensor

from ehrpose.engine.distributed import SyncStatisticsHook
from ehrpose.files import WriteError, make_parent, remove_stale, written_beside
from ehrpose.models.weights.checkpoint import checkpoint_bytes, complete, state_dict_of
from ehrpose.models.weights.state_dict_diff import compare_tensors
from ehrpose.registry import HOOKS


class CheckpointError(RuntimeError):
    """A checkpoint could not be written, or would have been useless; the last good one is kept."""


@contextmanager
def checkpoint_beside(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a file name like ``written_beside``, for a checkpoint.

    Raises:
        CheckpointError: The file cannot be written. The partial one is removed, ``path`` is unchanged.
    """
    try:
        with written_beside(path) as partial:
            yield partial
    except OSError as error:
        explained = isinstance(error, WriteError)
        reason = error.strerror if explained else f"{path} could not be written: {error.strerror}"
        advice = (
            "; free some disk space, then continue with `resume=True`"
            if error.errno in (errno.ENOSPC, errno.EDQUOT)
            else ""
        )
        raise CheckpointError(f"{reason}{advice}. Existing checkpoints are untouched") from error


def write_weights(path: str | os.PathLike, state_dict: Mapping[str, Tensor], meta: Mapping[str, Any]) -> None:
    """Write weights for ``read_checkpoint``, atomically; missing folders are created.

    Args:
        path: Output file; any suffix other than ``.safetensors`` uses ``torch.save``.
        state_dict: Weights.
        meta: Plain values: numbers, strings, lists of them.

    Raises:
        CheckpointError: The file cannot be written; the previous one is kept.
    """
    path = Path(path)
    content = checkpoint_bytes(state_dict, meta, path.suffix)
    make_parent(path)
    with checkpoint_beside(path) as partial:
        partial.write_bytes(content)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """Delete old checkpoints only after the new one is written; ``last_checkpoint`` always names a complete file.

    The files themselves are written safely by PoseRunner. Arguments as for MMEngine's CheckpointHook.
    """

    keep_ckpt_ids: deque

    def before_train(self, runner: Any) -> None:
        super().before_train(runner)
        if is_main_process():
            # Killed runs have logs of their own, to which no other run writes.
            work_dir = Path(runner.work_dir)
            logs = (
                folder for deeper in ("*", "*/vis_data", "*/vis_data/*") for folder in work_dir.glob(deeper)
            )
            for folder in (self.out_dir, *logs):
                remove_stale(folder)

    def _save_checkpoint_with_step(self, runner: Any, step: int, meta: dict) -> None:
        for hook in runner.hooks:
            if isinstance(hook, SyncStatisticsHook):
                hook.average(runner)
        outdated: int | None = None
        if self.max_keep_ckpts > 0 and (not self.keep_ckpt_ids or self.keep_ckpt_ids[-1] != step):
            kept = [*self.keep_ckpt_ids, step]
            if len(kept) > self.max_keep_ckpts:
                outdated = kept.pop(0)
            self.keep_ckpt_ids = deque(kept, self.max_keep_ckpts)
            runner.message_hub.update_info("keep_ckpt_ids", kept)
        name = self.filename_tmpl.format(step)
        self.last_ckpt = os.path.join(self.out_dir, name)
        runner.message_hub.update_info("last_ckpt", self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            **self.args,
        )
        if not is_main_process():
            return
        with checkpoint_beside(os.path.join(runner.work_dir, "last_checkpoint")) as partial:
            partial.write_text(self.last_ckpt, encoding="utf-8")
        if outdated is not None:
            Path(self.out_dir, self.filename_tmpl.format(outdated)).unlink(missing_ok=True)

    def _save_best_checkpoint(self, runner: Any, metrics: dict) -> None:
        """Hide the previous best from MMEngine, which would delete it before the new one is written."""
        if not self.save_best:
            return
        missing = [key for key in self.key_indicators if key != "auto" and key not in metrics]
        if missing:
            raise ValueError(f"save_best: unknown metric {missing[0]!r}; available: {', '.join(metrics)}")
        single = len(self.key_indicators) == 1
        previous = {"": self.best_ckpt_path} if single else dict(self.best_ckpt_path_dict)
        self._set_best(single, dict.fromkeys(previous))
        super()._save_best_checkpoint(runner, metrics)
        current = {"": self.best_ckpt_path} if single else self.best_ckpt_path_dict
        for key, old in previous.items():
            if current[key] and old and old != current[key] and is_main_process():
                Path(old).unlink(missing_ok=True)
                runner.logger.info(f"The previous best checkpoint {old} is removed")
        self._set_best(single, {key: current[key] or old for key, old in previous.items()})

    def _set_best(self, single: bool, paths: dict[str, str | None]) -> None:
        if single:
            self.best_ckpt_path = paths[""]
        else:
            self.best_ckpt_path_dict = paths


@HOOKS.register_module()
class CheckpointFitHook(Hook):
    """Make ``load_from`` and ``resume`` fail if names or shapes differ; PoseRunner registers it automatically.

    MMEngine alone only logs the difference and continues with random weights. Prefixes of wrappers, missing counters
    and weights under ``model`` are no differences.
    """

    priority = "HIGHEST"

    def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
        """Raise ValueError that names the first tensor that differs."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        filename = str(runner._load_from or "the checkpoint")
        own = model.state_dict()
        tensors = complete(state_dict_of(checkpoint, filename, expected=own), own, filename)
        differences = compare_tensors(tensors, own)
        if differences:
            raise ValueError(
                f"{filename} does not fit the model: {differences.describe()}. To load only what fits: "
                "model.init_cfg=dict(type='Pretrained', checkpoint=..., min_match=0.5)"
            )
        if tensors.keys() != dict(checkpoint.get("state_dict") or {}).keys():
            checkpoint["state_dict"] = tensors  # which MMEngine loads, whatever the file's form
