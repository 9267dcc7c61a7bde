"""Distributed runs on the CPU, which MMEngine does not set up: it requires a CUDA device."""

from __future__ import annotations

import atexit
import os
import subprocess
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed
from mmengine.hooks import EMAHook, Hook
from torch.nn.modules.batchnorm import _BatchNorm

from ehrpose.engine.elastic import check_restarts
from ehrpose.registry import HOOKS

LAUNCHERS = ("none", "pytorch", "slurm", "mpi")
# torch's variables for rank, world size and local rank, and the variables of each launcher.
_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
_SOURCES = {
    "pytorch": _NAMES,
    "slurm": ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID"),
    "mpi": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
}


def check_launcher(launcher: str, environ: Mapping[str, str] = os.environ) -> None:
    """Raise ValueError if a launcher is unknown, did not start this process, or cannot restart it safely."""
    if launcher not in LAUNCHERS:
        raise ValueError(f"launcher must be one of {', '.join(LAUNCHERS)}, got {launcher!r}")
    missing = [name for name in _SOURCES.get(launcher, ())[:2] if name not in environ]
    if missing:
        start = {"pytorch": "torchrun or tools/dist_train.sh", "slurm": "srun", "mpi": "mpirun"}[launcher]
        names = " and ".join(missing)
        raise ValueError(f"`launcher={launcher!r}` needs {names} to be set: start it with {start}")
    if launcher == "pytorch":
        check_restarts(environ)


def init_cpu_processes(launcher: str) -> None:
    """Join the gloo process group that a launcher's environment describes.

    Raises:
        ValueError: The launcher is unknown or did not start this process.
    """
    check_launcher(launcher)
    for name, source in zip(_NAMES, _SOURCES[launcher]):
        os.environ[name] = os.environ.get(source, "0")
    if launcher == "slurm" and "MASTER_ADDR" not in os.environ:
        query = ["scontrol", "show", "hostname", os.environ["SLURM_NODELIST"]]
        nodes = subprocess.check_output(query, text=True)
        os.environ["MASTER_ADDR"] = nodes.split()[0]
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    os.environ.setdefault("MASTER_PORT", "29500")  # torch's default
    torch.distributed.init_process_group(backend="gloo")
    # Its threads, still alive at interpreter exit, would occasionally abort the process.
    atexit.register(leave_processes)


def leave_processes() -> None:
    """Leave the process group, if this process is in one."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@HOOKS.register_module()
class SyncStatisticsHook(Hook):
    """Average the batch norm statistics over the processes before they are saved or used.

    Each process sees its own images, so without this each would validate a different network, and a run that resumes
    would have lost those of all but the first. PoseRunner registers it if there are several processes, and
    SafeCheckpointHook calls it before it saves.
    """

    priority = "NORMAL"

    def __init__(self) -> None:
        self._same = False

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self._same = False

    def before_val_epoch(self, runner: Any) -> None:  # in iteration-based training, within an epoch
        self.average(runner)

    def after_train_epoch(self, runner: Any) -> None:
        self.average(runner)

    def average(self, runner: Any) -> None:
        """Average, once after each iteration; all processes call it."""
        if self._same:
            return
        models = [runner.model, *(hook.ema_model for hook in runner.hooks if isinstance(hook, EMAHook))]
        for model in models:
            for module in model.modules():
                if isinstance(module, _BatchNorm) and module.track_running_stats:
                    for statistic in (module.running_mean, module.running_var):
                        assert statistic is not None
                        torch.distributed.all_reduce(statistic)
                        statistic.div_(torch.distributed.get_world_size())
        self._same = True
