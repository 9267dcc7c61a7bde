"""Options shared by ``ehrpose train`` and ``ehrpose test``, and what they change in a config, in place."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ehrpose.cli import add_cfg_options

if TYPE_CHECKING:  # help must not wait for MMEngine
    from mmengine.config import Config


def add_config_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for config values, drawn predictions and launchers."""
    add_cfg_options(parser)
    parser.add_argument("--show-dir", help="save drawn predictions to this folder")
    parser.add_argument("--show", action="store_true", help="show drawn predictions in a window")
    parser.add_argument("--interval", type=int, default=1, help="draw every n-th image")
    parser.add_argument("--wait-time", type=float, default=1, help="seconds to show each image")
    parser.add_argument(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        default="none",
        help="launcher that started this process",
    )
    parser.add_argument("--local_rank", "--local-rank", type=int, default=None, help=argparse.SUPPRESS)


def set_display(
    cfg: Config, show_dir: str | None = None, show: bool = False, interval: int = 1, wait_time: float = 1.0
) -> None:
    """Draw the predictions of validation and test.

    Args:
        cfg: Config.
        show_dir: Folder for the drawn images; None writes none.
        show: Show them in a window.
        interval: Draw every n-th image, from 1.
        wait_time: Seconds to show each image.

    Raises:
        ValueError: The interval is below 1.
    """
    if interval < 1:
        raise ValueError(f"--interval must be at least 1, got {interval}")
    if show_dir is not None or show:
        hook = {"type": "PoseVisualizationHook", "out_dir": show_dir, "show": show, "interval": interval}
        cfg.custom_hooks = [*(cfg.get("custom_hooks") or []), {**hook, "wait_time": wait_time}]
