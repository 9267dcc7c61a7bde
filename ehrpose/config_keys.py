"""The types that a config may name, and the keys of its parts without a type.

A component is looked up in the registry that its path in the config implies, so that checking a config for inference
loads no training code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from typing import Any

import mmengine.registry as root

from ehrpose import registry

# What MMEngine's Runner reads from the top level, and what ehrpose adds.
TOP_LEVEL_KEYS = (
    "model", "codec", "keypoints", "phi", "data_root", "work_dir", "experiment_name", "load_from", "resume",
    "train_dataloader", "val_dataloader", "test_dataloader", "train_cfg", "val_cfg", "test_cfg",
    "val_evaluator", "test_evaluator", "optim_wrapper", "param_scheduler", "auto_scale_lr",
    "default_hooks", "custom_hooks", "visualizer", "vis_backends", "log_processor", "log_level",
    "default_scope", "env_cfg", "randomness", "launcher", "model_wrapper_cfg", "custom_imports", "runner_type",
    "channels_last", "keep_freed_memory", "cpu_kernels", "console_level",
    "frozen_parts", "auto_batch_size", "tune",
)  # fmt: skip
_REGISTRIES = ("MODELS", "CODECS", "DATASETS", "TRANSFORMS", "METRICS", "HOOKS", "OPTIM_WRAPPERS", "OPTIMIZERS",
               "LOOPS", "DATA_SAMPLERS", "RUNNERS", "VISUALIZERS")  # fmt: skip
_ROOT_REGISTRIES = ("PARAM_SCHEDULERS", "VISBACKENDS", "LOG_PROCESSORS", "EVALUATOR", "MODEL_WRAPPERS",
                    "OPTIM_WRAPPER_CONSTRUCTORS", "WEIGHT_INITIALIZERS", "FUNCTIONS", "STRATEGIES", "INFERENCERS",
                    "TASK_UTILS", "RUNNER_CONSTRUCTORS")  # fmt: skip
# The registry of a component by its path in the config; the first match counts.
_REGISTRY_OF_PATH = (
    (r"(^|\.)codec$", "CODECS"),
    (r"(^|\.)init_cfg(\[\d+\])?$", "WEIGHT_INITIALIZERS"),
    (r"\.pipeline\[", "TRANSFORMS"),
    (r"_dataloader\.(batch_)?sampler$", "DATA_SAMPLERS"),
    (r"\.dataset(s\[\d+\])?$", "DATASETS"),
    (r"^model(\.|$)", "MODELS"),
)
# Modules that replace components of MMEngine by their own of the same name, and so must be imported first.
_REPLACING = {"WEIGHT_INITIALIZERS": "ehrpose.models.weights.checkpoint"}
_HOOKS = ("runtime_info", "timer", "sampler_seed", "logger", "param_scheduler", "checkpoint", "visualization",
          "early_stopping")  # fmt: skip
_LOOP_ARGUMENTS = {"runner", "dataloader", "evaluator"}


def untyped_nodes(plain: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Collection[str]]]:
    """Yield path, value and known keys of each part of a config that has no type of its own."""
    for path, known in _KNOWN_KEYS.items():
        node: Any = plain
        for part in path.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if isinstance(node, Mapping) and "type" not in node:
            yield path, node, [key for key in known() if key not in _LOOP_ARGUMENTS]


def arguments(component: Any) -> list[str]:
    """Return the names of the arguments of a class."""
    return [name for name in inspect.signature(component.__init__).parameters if name != "self"]


def _of_loader() -> list[str]:
    from torch.utils.data import DataLoader

    return [*arguments(DataLoader), "num_batch_per_epoch"]


def _of_runner(*names: str) -> list[str]:
    from mmengine import runner

    return [key for name in names for key in arguments(getattr(runner, name))]


def _of_optim_wrapper() -> list[str]:
    from mmengine.optim import OptimWrapper

    return [*arguments(OptimWrapper), "constructor", "paramwise_cfg"]


# Called only for the parts that a config has: checking it for inference loads no Runner.
_KNOWN_KEYS: dict[str, Callable[[], Collection[str]]] = {
    **{f"{split}_dataloader": _of_loader for split in ("train", "val", "test")},
    "train_cfg": lambda: ["by_epoch", *_of_runner("EpochBasedTrainLoop", "IterBasedTrainLoop")],
    "val_cfg": lambda: _of_runner("ValLoop"),
    "test_cfg": lambda: _of_runner("TestLoop"),
    "optim_wrapper": _of_optim_wrapper,
    "auto_scale_lr": lambda: ("enable", "base_batch_size"),
    "tune": lambda: ("space", "metric", "rule", "trials", "prune"),
    "randomness": lambda: ("seed", "diff_rank_seed", "deterministic"),
    "env_cfg": lambda: ("cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"),
    "env_cfg.mp_cfg": lambda: ("mp_start_method", "opencv_num_threads"),
    "log_processor": lambda: _of_runner("LogProcessor"),
    "default_hooks": lambda: _HOOKS,
}


def _all_registries() -> Iterator[Any]:
    for name in _REGISTRIES:
        yield getattr(registry, name)
    for name in (*_REGISTRIES, *_ROOT_REGISTRIES):
        if hasattr(root, name):
            yield getattr(root, name)


def known_names() -> set[str]:
    """Return the names of all components whose modules are imported."""
    return {key for reg in _all_registries() for key in reg.module_dict}


def find_class(name: str, path: str = "") -> Any:
    """Return the component registered under ``name``, None if no registry has it.

    The registry that ``path`` implies is searched first, and as few modules as possible are imported.
    """
    kind = next((kind for pattern, kind in _REGISTRY_OF_PATH if re.search(pattern, path)), None)
    found = _find_in(kind, name) if kind else None
    if found is not None:
        return found
    for reg in _all_registries():
        reg.import_from_location()
        found = reg.module_dict.get(name)
        if found is not None:
            return found
    return None


def _find_in(kind: str, name: str) -> Any:
    """Look up ``name`` in the registry ``kind``: ours, MMEngine's, then importing our modules one by one."""
    if kind in _REPLACING:
        import_module(_REPLACING[kind])
    ours, theirs = getattr(registry, kind, None), getattr(root, kind, None)
    known = [reg for reg in (ours, theirs) if reg is not None]
    for reg in known:
        if name in reg.module_dict:
            return reg.module_dict[name]
    if theirs is not None:
        theirs.import_from_location()
    locations = () if ours is None else ours._locations
    for location in (None, *locations):
        if location is not None:
            import_module(location)
        for reg in known:
            if name in reg.module_dict:
                return reg.module_dict[name]
    return None
