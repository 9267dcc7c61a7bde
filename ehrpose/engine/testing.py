"""Test a checkpoint by a config."""

from __future__ import annotations

import os
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.model import is_model_wrapper

from ehrpose.engine.runner import build_runner


def evaluate_checkpoint(
    cfg: Config,
    checkpoint: str | os.PathLike,
    work_dir: str | os.PathLike | None = None,
    launcher: str | None = None,
    out: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Return the metrics of a checkpoint on the test data of a config.

    Args:
        cfg: Config of ``load_config``.
        checkpoint: File with the weights, loaded as data alone, or the name of a model of the zoo.
        work_dir: As for ``build_runner``.
        launcher: As for ``build_runner``.
        out: Name for the result file that ``options.set_test_output`` asked for.

    Raises:
        FileNotFoundError: There is no such checkpoint.
        ValueError: It does not fit the model, is no plain data, or no model has such a name.
    """
    from ehrpose.models.checkpoint import load_checkpoint, weights_file

    checkpoint = weights_file(checkpoint)
    if not os.path.isfile(checkpoint):
        raise FileNotFoundError(f"checkpoint not found: {checkpoint}")
    runner = build_runner(cfg, work_dir, launcher)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    load_checkpoint(model, checkpoint, map_location="cpu", strict=True)
    metrics = runner.test()
    if out is not None and is_main_process():
        os.replace(f"{os.fspath(out).removesuffix('.json')}.keypoints.json", out)  # the metric's name for it
    return metrics
