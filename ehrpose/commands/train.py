"""``ehrpose train`` and tools/train.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ehrpose.commands.config_options import add_config_options, set_display

if TYPE_CHECKING:  # help must not wait for MMEngine
    from mmengine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument("config", help="config file, zoo model, or config name such as h-3")
    parser.add_argument(
        "--work-dir", help="folder for logs and checkpoints (default: work_dirs/<config name>)"
    )
    parser.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="resume from a checkpoint, or without a value from the latest in the work dir",
    )
    parser.add_argument(
        "--amp", action="store_true", help="mixed precision: bfloat16, or float16 on older GPUs"
    )
    parser.add_argument("--no-validate", action="store_true", help="skip validation during training")
    parser.add_argument(
        "--auto-scale-lr", action="store_true", help="scale the learning rate to the batch size"
    )
    parser.add_argument(
        "--batch",
        type=batch_size,
        metavar="N|auto",
        help="photos per step; auto tries what fits into memory (default: from the config)",
    )
    parser.add_argument(
        "--freeze",
        nargs="+",
        metavar="PART",
        help="parts of the model that stay as they are: backbone, backbone.stem, neck, head",
    )
    add_config_options(parser)


def run(args: argparse.Namespace) -> None:
    """Train with the config and the options."""
    from ehrpose.config_names import find_config

    args.config = find_config(args.config)
    from ehrpose.config import load_config
    from ehrpose.engine import build_runner

    cfg = load_config(args.config, args.cfg_options)
    set_resume(cfg, args.resume, args.work_dir)
    set_amp(cfg, args.amp)
    set_auto_scale_lr(cfg, args.auto_scale_lr)
    set_no_validate(cfg, args.no_validate)
    set_freeze(cfg, args.freeze)
    set_batch(cfg, args.batch, args.work_dir, args.launcher)
    set_display(cfg, args.show_dir, args.show, args.interval, args.wait_time)
    build_runner(cfg, args.work_dir, args.launcher).train()


def set_resume(cfg: Config, resume: str | None, work_dir: str | None = None) -> None:
    """Resume from a checkpoint, with ``"auto"`` from the latest one in the work_dir; None changes nothing.

    Where ``"auto"`` finds none, the run begins, from the config's ``load_from`` if it has one: a command that is run
    again and again may always ask for it.

    Args:
        cfg: Config.
        resume: Checkpoint, ``"auto"`` or None.
        work_dir: As in ``set_batch``.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
    """
    if resume is None:
        return
    if resume != "auto" and "://" not in resume and not Path(resume).is_file():
        raise FileNotFoundError(f"checkpoint not found: {resume}")
    if (
        resume == "auto"
        and cfg.get("load_from")
        and not Path(run_folder(cfg, work_dir), "last_checkpoint").is_file()
    ):
        return
    cfg.resume = True
    cfg.load_from = None if resume == "auto" else resume


def run_folder(cfg: Config, work_dir: str | None = None) -> str:
    """Return the folder of a run: ``work_dir``, the config's, or ``work_dirs/<name of the config>``."""
    return work_dir or cfg.get("work_dir") or f"work_dirs/{Path(cfg.filename or 'run').stem}"


def set_amp(cfg: Config, amp: bool) -> None:
    """Train in mixed precision, in the best type that the device supports.

    Raises:
        ValueError: The config's optimizer wrapper is neither OptimWrapper nor AutocastOptimWrapper.
    """
    if not amp:
        return
    from ehrpose.engine.amp import AutocastOptimWrapper

    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    if kind not in ("OptimWrapper", AutocastOptimWrapper.__name__):
        raise ValueError(f"--amp works with optim_wrapper.type OptimWrapper, got {kind!r}")
    cfg.optim_wrapper.type = AutocastOptimWrapper.__name__


def set_auto_scale_lr(cfg: Config, auto_scale_lr: bool) -> None:
    """Scale the learning rate to the actual batch size.

    Raises:
        ValueError: The config does not state the batch size of its learning rate.
    """
    if not auto_scale_lr:
        return
    if "base_batch_size" not in (cfg.get("auto_scale_lr") or {}):
        raise ValueError("--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config")
    cfg.auto_scale_lr.enable = True


def set_freeze(cfg: Config, parts: Sequence[str] | None) -> None:
    """Freeze parts of the model, by name; None leaves it to the config."""
    if parts is not None:
        cfg.frozen_parts = list(parts)


def batch_size(text: str) -> int | str:
    """Return a number of photos, or ``"auto"``."""
    if text == "auto" or (text.isdecimal() and int(text) > 0):
        return text if text == "auto" else int(text)
    raise argparse.ArgumentTypeError(f"expected a whole number from 1, or auto, got {text}")


def set_batch(
    cfg: Config, batch: int | str | None, work_dir: str | None = None, launcher: str = "none"
) -> None:
    """Set the photos per step; a run that was begun with ``"auto"`` resumes with the same number.

    Args:
        cfg: Config, with the decision whether to resume.
        batch: Number, ``"auto"`` for the largest power of two that fits into memory, or None for the config's.
        work_dir: Folder of the run; None: the config's, or ``work_dirs/<name of the config>``.
        launcher: As for ``build_runner``; ``"auto"`` needs ``"none"``.

    Raises:
        ValueError: The number differs from that of the run that is resumed, or cannot be found.
    """
    if batch is None and not cfg.get("resume"):
        return
    from ehrpose.engine.batch_size import batch_to_resume, find_batch_size

    stored = batch_to_resume(cfg, batch, run_folder(cfg, work_dir))
    if stored is not None:
        print(f"batch size {stored}, as in the run that is resumed")
        cfg.auto_batch_size = batch = stored
    elif batch == "auto":
        if launcher != "none":
            raise ValueError(
                "--batch auto needs --launcher none: try it in one process, then give the number"
            )
        print("trying batch sizes ...", flush=True)
        choice = find_batch_size(cfg)
        print(f"{choice.describe()}. {_said_of_learning_rate(cfg, choice.batch)}", flush=True)
        cfg.auto_batch_size = batch = choice.batch
    if batch is not None:
        cfg.train_dataloader.batch_size = batch


def _said_of_learning_rate(cfg: Config, batch: int) -> str:
    scaling = cfg.get("auto_scale_lr") or {}
    base = scaling.get("base_batch_size")
    if scaling.get("enable"):
        return f"The learning rate is scaled by {batch}/{base}"
    advice = f"; --auto-scale-lr would scale it by {batch}/{base}" if base else ""
    return f"The learning rate stays as in the config{advice}"


def set_no_validate(cfg: Config, no_validate: bool) -> None:
    """Train without validation, and therefore without a best checkpoint."""
    if no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
