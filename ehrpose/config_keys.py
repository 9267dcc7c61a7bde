"""The keys that a config's parts without a type may have."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from typing import Any

# What MMEngine's Runner reads from the top level, and what ehrpose adds.
TOP_LEVEL_KEYS = (
    "model", "codec", "keypoints", "phi", "data_root", "work_dir", "experiment_name", "load_from", "resume",
    "train_dataloader", "val_dataloader", "test_dataloader", "train_cfg", "val_cfg", "test_cfg",
    "val_evaluator", "test_evaluator", "optim_wrapper", "param_scheduler", "auto_scale_lr",
    "default_hooks", "custom_hooks", "visualizer", "vis_backends", "log_processor", "log_level",
    "default_scope", "env_cfg", "randomness", "launcher", "model_wrapper_cfg", "custom_imports", "runner_type",
    "channels_last", "keep_freed_memory",
)  # fmt: skip
_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint", "visualization")
_LOOP_ARGUMENTS = {"runner", "dataloader", "evaluator"}


def untyped_nodes(plain: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Collection[str]]]:
    """Yield path, value and known keys of each part of a config that has no type of its own."""
    from mmengine.optim import OptimWrapper
    from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, LogProcessor, TestLoop, ValLoop
    from torch.utils.data import DataLoader

    loader = {*arguments(DataLoader), "num_batch_per_epoch"}
    by_name: dict[str, Collection[str]] = {
        **{f"{split}_dataloader": loader for split in ("train", "val", "test")},
        "train_cfg": {"by_epoch", *arguments(EpochBasedTrainLoop), *arguments(IterBasedTrainLoop)},
        "val_cfg": arguments(ValLoop),
        "test_cfg": arguments(TestLoop),
        "optim_wrapper": {*arguments(OptimWrapper), "constructor", "paramwise_cfg"},
        "auto_scale_lr": ("enable", "base_batch_size"),
        "randomness": ("seed", "diff_rank_seed", "deterministic"),
        "env_cfg": ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"),
        "env_cfg.mp_cfg": ("mp_start_method", "opencv_num_threads"),
        "log_processor": arguments(LogProcessor),
        "default_hooks": _HOOKS,
    }
    for path, known in by_name.items():
        node: Any = plain
        for part in path.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and "type" not in node:
            yield path, node, [key for key in known if key not in _LOOP_ARGUMENTS]


def arguments(component: Any) -> list[str]:
    """Return the names of the arguments of a class."""
    return [name for name in inspect.signature(component.__init__).parameters if name != "self"]
