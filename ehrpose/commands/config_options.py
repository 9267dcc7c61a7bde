"""What the options of tools/train.py and tools/test.py change in a config, in place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ehrpose.engine.amp import AutocastOptimWrapper


def set_resume(cfg: Config, resume: str | None) -> None:
    """Resume from a checkpoint, with ``"auto"`` from the last one in the work_dir; None changes nothing.

    Raises:
        FileNotFoundError: There is no such checkpoint.
    """
    if resume is not None:
        if resume != "auto" and "://" not in resume and not Path(resume).is_file():
            raise FileNotFoundError(f"checkpoint not found: {resume}")
        cfg.resume = True
        cfg.load_from = None if resume == "auto" else resume


def set_amp(cfg: Config, amp: bool) -> None:
    """Train in mixed precision, as well as the device can.

    Raises:
        ValueError: The config's optimizer wrapper is neither OptimWrapper nor AutocastOptimWrapper.
    """
    if not amp:
        return
    kind = cfg.optim_wrapper.get("type", "OptimWrapper")
    if kind not in ("OptimWrapper", AutocastOptimWrapper.__name__):
        raise ValueError(f"--amp works with optim_wrapper.type OptimWrapper, got {kind!r}")
    cfg.optim_wrapper.type = AutocastOptimWrapper.__name__


def set_auto_scale_lr(cfg: Config, auto_scale_lr: bool) -> None:
    """Scale the learning rate to the batch that is run.

    Raises:
        ValueError: The config does not say which batch its learning rate belongs to.
    """
    if not auto_scale_lr:
        return
    if "base_batch_size" not in (cfg.get("auto_scale_lr") or {}):
        raise ValueError("--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config")
    cfg.auto_scale_lr.enable = True


def set_no_validate(cfg: Config, no_validate: bool) -> None:
    """Train without validation, so without a best checkpoint."""
    if no_validate:
        cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None


def set_display(
    cfg: Config, show_dir: str | None = None, show: bool = False, interval: int = 1, wait_time: float = 1.0
) -> None:
    """Draw the predictions of validation and test.

    Args:
        cfg: Config.
        show_dir: Folder for the pictures, None for none.
        show: Show them in a window.
        interval: Draw every n-th image, from 1.
        wait_time: Seconds that a picture is shown.

    Raises:
        ValueError: The interval is below 1.
    """
    if interval < 1:
        raise ValueError(f"--interval must be at least 1, got {interval}")
    if show_dir is not None or show:
        hook = {"type": "PoseVisualizationHook", "out_dir": show_dir, "show": show, "interval": interval}
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), {**hook, "wait_time": wait_time}]


def set_test_output(
    cfg: Config, out: str | None = None, format_only: bool = False, dump: str | None = None
) -> None:
    """Say what is written of a test's results.

    Args:
        cfg: Config.
        out: Json file for the results in COCO's submission form.
        format_only: Only write them, for data without annotations.
        dump: Pickle file for the predictions of every image.

    Raises:
        ValueError: A file has the wrong ending, ``format_only`` is without ``out``, or no metric can write.
    """
    if out is not None and not out.endswith(".json"):
        raise ValueError(f"--out must end with .json, got {out}")
    if dump is not None and not dump.endswith((".pkl", ".pickle")):
        raise ValueError(f"--dump must end with .pkl or .pickle, got {dump}")
    if format_only and out is None:
        raise ValueError("--format-only writes the results to a file: give it with --out")
    evaluators = _as_list(cfg.test_evaluator)
    if out is not None:
        writers = [e for e in evaluators if e["type"] in ("CocoMetric", "CrowdPoseMetric")]
        if not writers:
            raise ValueError("--out needs a CocoMetric or CrowdPoseMetric in test_evaluator")
        writers[0].update(outfile_prefix=out.removesuffix(".json"), format_only=format_only)
    if dump is not None:
        evaluators.append({"type": "DumpResults", "out_file_path": dump})
    cfg.test_evaluator = evaluators


def set_bad_cases(cfg: Config, count: int | None, out_dir: str | os.PathLike) -> None:
    """Draw the ``count`` photos of a test with the lowest OKS into a folder; None draws none.

    Raises:
        ValueError: ``count`` is below 1.
    """
    if count is None:
        return
    if count < 1:
        raise ValueError(f"--badcase must be at least 1, got {count}")
    hook = {"type": "BadCaseHook", "out_dir": str(out_dir), "keypoints": "$keypoints", "count": count}
    cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), hook]


def set_flip_test(cfg: Config, flip_test: bool | None) -> None:
    """Test with the mirrored image as well, or without; None leaves it to the config."""
    if flip_test is not None:
        cfg.model.flip_test = flip_test


def _as_list(evaluator: Any) -> list[Any]:
    return list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
