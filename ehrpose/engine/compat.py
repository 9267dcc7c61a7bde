"""Cures for what MMEngine 0.10.7 does not do on today's PyTorch; also right with its fork onedl-mmengine.

MMEngine itself needs setuptools below 81 for ``pkg_resources``; that is pinned in the requirements.
"""

from __future__ import annotations

import mmengine.registry
import torch
from mmengine.registry import Registry
from mmengine.runner import CheckpointLoader

import ehrpose.registry  # noqa: F401 its registries come first
from ehrpose.models.weights.checkpoint import allowed_globals, read_checkpoint

SCOPE = "ehrpose"


def apply() -> None:
    """Apply all cures; a second call changes nothing."""
    allow_resume()
    load_checkpoints_safely()
    complete_scope()


def allow_resume() -> None:
    """Let ``torch.load(weights_only=True)`` read the logs that MMEngine keeps beside the weights.

    Since 2.6 that is PyTorch's default, and it refuses every class that is not allowed, so MMEngine could not
    resume, with averaged weights or without.
    """
    torch.serialization.add_safe_globals(allowed_globals())


def load_checkpoints_safely() -> None:
    """Make MMEngine read local checkpoints as plain data, whatever PyTorch's default is.

    onedl-mmengine runs the code in a pickle where the safe way fails, and so does every PyTorch below 2.6.
    """

    # MMEngine logs the loader's name without its first ten letters.
    def load_from_local(filename: str, map_location: object) -> object:
        return read_checkpoint(filename, map_location)

    CheckpointLoader.register_scheme("", load_from_local, force=True)


def complete_scope() -> None:
    """Give the scope "ehrpose" an empty child of each MMEngine registry in which it has none.

    Otherwise MMEngine warns at every look-up of its own schedulers, optimizers and log writers.
    """
    for registry in list(vars(mmengine.registry).values()):
        if isinstance(registry, Registry) and registry.parent is None and SCOPE not in registry.children:
            Registry(registry.name, parent=registry, scope=SCOPE)
