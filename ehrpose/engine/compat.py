"""Workarounds for MMEngine 0.10.7 on current PyTorch; also valid for the onedl-mmengine fork.

MMEngine itself needs setuptools below 81 for ``pkg_resources``; that is pinned in the requirements.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import mmengine.config.config
import mmengine.registry
import torch
from mmengine.registry import Registry
from mmengine.runner import CheckpointLoader

import ehrpose.registry  # noqa: F401 its registries come first
from ehrpose.engine.log_files import write_whole_files
from ehrpose.models.weights.checkpoint import allowed_globals, read_checkpoint

SCOPE = "ehrpose"


def apply() -> None:
    """Apply all workarounds; a second call changes nothing."""
    allow_resume()
    load_checkpoints_safely()
    complete_scope()
    write_whole_files()
    format_configs_once()


def allow_resume() -> None:
    """Let ``torch.load(weights_only=True)`` read the logs that MMEngine saves with the weights.

    Since 2.6 that is PyTorch's default, and it rejects every class that is not allowed, so MMEngine could not
    resume, with or without averaged weights.
    """
    torch.serialization.add_safe_globals(allowed_globals())


def load_checkpoints_safely() -> None:
    """Make MMEngine read local checkpoints as plain data, whatever PyTorch's default is.

    onedl-mmengine executes the code in a pickle if safe loading fails, and PyTorch before 2.6 always does.
    """

    # MMEngine logs the loader's name without its first ten characters.
    def load_from_local(filename: str, map_location: object) -> object:
        return read_checkpoint(filename, map_location)

    CheckpointLoader.register_scheme("", load_from_local, force=True)


def complete_scope() -> None:
    """Add an empty child with the scope "ehrpose" to each MMEngine registry that lacks one.

    Otherwise MMEngine warns at every lookup of its own schedulers, optimizers and log writers.
    """
    for registry in list(vars(mmengine.registry).values()):
        if isinstance(registry, Registry) and registry.parent is None and SCOPE not in registry.children:
            Registry(registry.name, parent=registry, scope=SCOPE)


def format_configs_once() -> None:
    """Let MMEngine format each config's text once: it does so again for every checkpoint, for a second or more."""
    module = mmengine.config.config
    if not hasattr(module.FormatCode, "cache_clear"):
        module.FormatCode = _cached(module.FormatCode)


def _cached(format_code: Callable) -> Callable:
    @functools.lru_cache(maxsize=8)
    def format_styled(text: str, style: tuple, options: tuple) -> Any:
        return format_code(text, style_config=dict(style), **dict(options))

    @functools.wraps(format_code)
    def call(text: str, style_config: dict, **options: Any) -> Any:
        return format_styled(text, tuple(style_config.items()), tuple(options.items()))

    call.cache_clear = format_styled.cache_clear  # type: ignore[attr-defined]
    return call
