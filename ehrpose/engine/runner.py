"""MMEngine's Runner for CPU and CUDA, with exact resume and safe checkpoints."""

from __future__ import annotations

import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from mmengine.config import Config
from mmengine.dist import get_rank, is_distributed, is_main_process, master_only
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from ehrpose.config import resolve
from ehrpose.datasets.one_piece import OnePiece
from ehrpose.engine import compat
from ehrpose.engine.allocator import keep_freed_memory
from ehrpose.engine.batch_size import AUTO_BATCH
from ehrpose.engine.batches import check_batches
from ehrpose.engine.checkpoint import CheckpointFitHook, checkpoint_beside
from ehrpose.engine.console import quieten_console
from ehrpose.engine.distributed import SyncStatisticsHook, check_launcher, init_cpu_processes
from ehrpose.engine.elastic import AGENTS, agent_name, agree_on_start, gather
from ehrpose.engine.freezing import FROZEN, freeze, frozen_before
from ehrpose.engine.hooks.pending_validation import PendingValidationHook
from ehrpose.engine.hooks.slow_steps import SlowStepHook
from ehrpose.engine.hooks.time_left import TimeLeftHook
from ehrpose.engine.log_files import guard_logger, guard_visualizer
from ehrpose.engine.manager_lock import manager_lock_freed
from ehrpose.engine.seeding import ExactResumeHook, SeededDataset, SeededSampler
from ehrpose.files import explained, put_in_place, write_text
from ehrpose.models.cpu_training import use_cpu_kernels, why_no_kernels
from ehrpose.registry import RUNNERS

# The metrics that write results, and what their files' names end with.
RESULT_SUFFIXES = {
    "CocoMetric": ".keypoints.json",
    "CrowdPoseMetric": ".keypoints.json",
    "AccuracyMetric": ".labels.json",
}
CPU_MODEL_WRAPPER = {"type": "MMDistributedDataParallel", "device_ids": None, "broadcast_buffers": False}


@RUNNERS.register_module()
class PoseRunner(Runner):
    """MMEngine's Runner with these differences.

    Distributed training also works on the CPU (gloo), the processes share batch-norm statistics for validation, start
    from one checkpoint, and go on by themselves after a restart (``ehrpose.engine.elastic``). A resumed run equals an
    uninterrupted one (see ``ehrpose.engine.seeding``), and first makes up for a validation that was cut off. The ETA
    includes validations (``ehrpose.engine.hooks.time_left``). Checkpoints are written to a temporary file and renamed,
    and so is the copy of the config; logs that cannot be written do not end a run (``ehrpose.engine.log_files``). The
    top-level key ``channels_last=True`` puts the model into channels-last memory, ``keep_freed_memory=True`` makes CPU
    runs faster (see ``ehrpose.engine.allocator``), and so does ``cpu_kernels=True`` with models in channels-last memory
    (``ehrpose.models.cpu_training``), ``frozen_parts=[part, ...]`` leaves parts of the model untrained
    (``ehrpose.engine.freezing``). The console shows less than the log file, at least of the level ``console_level``
    (``ehrpose.engine.console``). Runs that start within the same second have separate logs. A data loader that would
    give no batch is a ValueError before anything starts.
    """

    _timestamps: ClassVar[set[str]] = set()
    _timestamp: str
    _resume: bool
    _load_from: str | None

    @classmethod
    def from_cfg(cls, cfg: Config) -> PoseRunner:
        """Build from a config with references; logs and checkpoints keep the config as it was written."""
        resolved = resolve(cfg)
        names = set(inspect.signature(Runner.__init__).parameters) - {"self", "cfg"}
        arguments = {name: resolved[name] for name in names if resolved.get(name) is not None}
        if isinstance(arguments.get("visualizer"), dict):
            arguments["visualizer"].pop("name", None)  # a second run would get the log files of the first
        return cls(**arguments, cfg=cfg)

    def setup_env(self, env_cfg: dict) -> None:
        if self.distributed and not is_distributed() and not torch.cuda.is_available():
            init_cpu_processes(self.launcher)
        super().setup_env(env_cfg)
        if self.cfg.get("keep_freed_memory", False) and not torch.cuda.is_available():
            keep_freed_memory()
        stamp, number = self._timestamp, 1
        while self._timestamp in PoseRunner._timestamps:
            number += 1
            self._timestamp = f"{stamp}_{number}"
        PoseRunner._timestamps.add(self._timestamp)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        logger = super().build_logger(*args, **kwargs)
        guard_logger(logger)
        quieten_console(logger, self.cfg.get("console_level"))
        return logger

    def build_visualizer(self, visualizer: Any = None) -> Visualizer:
        built = super().build_visualizer(visualizer)
        guard_visualizer(built)
        return built

    @master_only
    def dump_config(self) -> None:
        """Write the config to the work_dir, whole or not at all."""
        name = os.path.basename(self.cfg.filename or f"{self.timestamp}.py")
        if name.endswith(".py"):
            write_text(Path(self.work_dir, name), self.cfg.pretty_text)
        else:
            super().dump_config()

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        if self.cfg.get("channels_last", False):
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            preprocessor: Any = getattr(model, "data_preprocessor", None)
            if hasattr(preprocessor, "memory_format"):
                preprocessor.memory_format = torch.channels_last
            if self.cfg.get("cpu_kernels", False) and not torch.cuda.is_available():
                self._use_kernels(model)
        if self.distributed and not torch.cuda.is_available():
            extra = {} if model_wrapper_cfg is None else dict(model_wrapper_cfg)
            model_wrapper_cfg = {**CPU_MODEL_WRAPPER, **extra, "device_ids": None}
        self._freeze(model, self.cfg.get(FROZEN) or ())
        return super().wrap_model(model_wrapper_cfg, model)

    def _use_kernels(self, model: nn.Module) -> None:
        why_not = why_no_kernels()
        if why_not is None:
            norms, convs = use_cpu_kernels(model)
            self.logger.debug(f"cpu_kernels: {norms} norms and {convs} depthwise convolutions")
        else:
            self.logger.info(f"cpu_kernels: torch's layers are used, {why_not}")

    def _freeze(self, model: nn.Module, parts: Sequence[str]) -> None:
        self.message_hub.update_info(FROZEN, list(parts))
        if parts:
            self.logger.info(freeze(model, parts))

    def register_hooks(self, default_hooks: dict | None = None, custom_hooks: list | None = None) -> None:
        super().register_hooks(default_hooks, custom_hooks)
        if not any(isinstance(hook, ExactResumeHook) for hook in self.hooks):
            self.register_hook(ExactResumeHook())
        if not any(isinstance(hook, CheckpointFitHook) for hook in self.hooks):
            self.register_hook(CheckpointFitHook())
        self.register_hook(PendingValidationHook())
        if not any(isinstance(hook, SlowStepHook) for hook in self.hooks):
            self.register_hook(SlowStepHook())
        self.register_hook(TimeLeftHook())
        if self.distributed:
            self.register_hook(SyncStatisticsHook())

    @staticmethod
    def build_dataloader(
        dataloader: Any, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader:
        """Build a data loader whose randomness depends only on seed, epoch, rank and position."""
        if isinstance(dataloader, DataLoader):
            return dataloader
        if seed is None:
            return _in_one_piece(Runner.build_dataloader(dataloader, seed, diff_rank_seed))
        seeded = dict(dataloader)
        if isinstance(dataloader["dataset"], dict) and isinstance(dataloader["sampler"], dict):
            seeded["dataset"] = {"type": SeededDataset, "dataset": dataloader["dataset"]}
            seeded["sampler"] = {"type": SeededSampler, "sampler": dataloader["sampler"],
                                 "item_seed": seed, "rank": get_rank()}  # fmt: skip
        return _in_one_piece(Runner.build_dataloader(seeded, seed, diff_rank_seed))

    def train(self) -> nn.Module:
        self._check_loaders("train", "val")
        self.logger.info(f"The config and the whole log are in {self._log_dir}")
        self.message_hub.update_info(AUTO_BATCH, self.cfg.get(AUTO_BATCH))
        try:
            return super().train()
        finally:
            self._stop_workers()

    def val(self) -> dict:
        self._check_loaders("val")
        try:
            return super().val()
        finally:
            self._stop_workers()

    def test(self) -> dict:
        self._check_loaders("test")
        try:
            return super().test()
        finally:
            self._stop_workers()

    def _check_loaders(self, *parts: str) -> None:
        """Build data loaders before their loops, and raise ValueError if one gives no batch."""
        for part in parts:
            loop = getattr(self, f"_{part}_loop")
            if loop is None:  # not part of this run, or MMEngine's error
                continue
            loader = getattr(self, f"_{part}_dataloader") if isinstance(loop, dict) else loop.dataloader
            if isinstance(loader, dict):
                different = self._randomness_cfg.get("diff_rank_seed", False)
                loader = self.build_dataloader(loader, seed=self.seed, diff_rank_seed=different)
                setattr(self, f"_{part}_dataloader", loader)
            check_batches(part, loader)

    def _stop_workers(self) -> None:
        """Stop the persistent workers; the garbage collector would wait five seconds for each."""
        for loop in (self._train_loop, self._val_loop, self._test_loop):
            loader: Any = getattr(loop, "dataloader", None)
            iterator: Any = getattr(loader, "_iterator", None)
            if hasattr(iterator, "_shutdown_workers"):
                iterator._shutdown_workers()
                loader._iterator = None

    def load_or_resume(self) -> None:
        if self.distributed and not self._has_loaded:
            self._resume, self._load_from = agree_on_start(self._resume, self._load_from, self.work_dir)
        super().load_or_resume()
        if self.distributed:  # a checkpoint has those of its own time
            agents = {name for name in gather(agent_name()) if name}
            self.message_hub.update_info(AGENTS, sorted(agents))

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        asked = list(self.message_hub.get_info(FROZEN, ()))
        super().resume(filename, *args, **kwargs)
        parts = frozen_before(asked, self.message_hub.get_info(FROZEN, ()))
        if parts != asked and is_model_wrapper(self.model):
            raise ValueError(f"a distributed run resumes with the same frozen_parts: give {', '.join(parts)}")
        if parts != asked:
            self._freeze(self.model, parts)
        # Without a seed in the config this run drew one, which the checkpoint's has replaced.
        sampler = getattr(self.train_dataloader, "sampler", None)
        if isinstance(sampler, SeededSampler) and sampler.seed != self.seed:
            sampler.reseed(self.seed)

    @master_only
    def save_checkpoint(self, out_dir: str, filename: str, *args: Any, **kwargs: Any) -> None:
        """Save a checkpoint, whole or not at all; arguments as in MMEngine.

        Raises:
            CheckpointError: It cannot be written, for example because the disk is full; older ones stay.
        """
        if "://" in str(out_dir):  # not a local folder
            super().save_checkpoint(out_dir, filename, *args, **kwargs)
            return
        with checkpoint_beside(os.path.join(out_dir, filename)) as partial:
            super().save_checkpoint(out_dir, partial.name, *args, **kwargs)


def _in_one_piece(loader: DataLoader) -> DataLoader:
    loader.collate_fn = OnePiece(loader.collate_fn)
    return loader


def build_runner(
    cfg: Config, work_dir: str | os.PathLike | None = None, launcher: str | None = None
) -> Runner:
    """Build the Runner of a config.

    Args:
        cfg: Config from ``load_config``, with references; not changed.
        work_dir: Folder for logs and checkpoints; default: the config's, or ``work_dirs/<name of the config>``.
        launcher: ``"none"``, ``"pytorch"``, ``"slurm"`` or ``"mpi"``; None: the config's.

    Raises:
        ValueError: A reference in the config is unknown, or the launcher did not start this process.
    """
    compat.apply()
    cfg = cfg.copy()
    name = Path(cfg.filename).stem if cfg.filename else "run"
    cfg.work_dir = str(work_dir or cfg.get("work_dir") or Path("work_dirs") / name)
    cfg.launcher = launcher or cfg.get("launcher", "none")
    check_launcher(cfg.launcher)
    cfg.setdefault("default_scope", "ehrpose")
    with manager_lock_freed():
        return RUNNERS.get(cfg.get("runner_type") or "PoseRunner").from_cfg(cfg)


def evaluate_checkpoint(
    cfg: Config,
    checkpoint: str | os.PathLike,
    work_dir: str | os.PathLike | None = None,
    launcher: str | None = None,
    out: str | os.PathLike | None = None,
) -> dict[str, Any]:
    """Return the metrics of a checkpoint on the test data of a config.

    Args:
        cfg: Config from ``load_config``.
        checkpoint: File with the weights, loaded as plain data, or the name of a zoo model.
        work_dir: See ``build_runner``.
        launcher: See ``build_runner``.
        out: Name for the result file that ``options.set_test_output`` requested.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: It does not fit the model, is not plain data, or is not the name of a zoo model.
    """
    from ehrpose.models.weights.checkpoint import load_checkpoint, weights_file

    checkpoint = weights_file(checkpoint)
    if not os.path.isfile(checkpoint):
        raise FileNotFoundError(f"checkpoint not found: {checkpoint}")
    runner = build_runner(cfg, work_dir, launcher)
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    load_checkpoint(model, checkpoint, map_location="cpu", strict=True)
    metrics = runner.test()
    if out is not None and is_main_process():
        prefix = os.fspath(out).removesuffix(".json")
        names = [f"{prefix}{suffix}" for suffix in dict.fromkeys(RESULT_SUFFIXES.values())]
        written = next((name for name in names if os.path.isfile(name)), names[0])  # the metric chose it
        with explained(out, written):
            put_in_place(written, out)
    return metrics
