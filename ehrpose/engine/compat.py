"""Cures for what MMEngine 0.10.7 does not do on today's PyTorch; also right with its fork onedl-mmengine.

MMEngine itself needs setuptools below 81 for ``pkg_resources``; that is pinned in the requirements.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import mmengine.registry
import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from mmengine.registry import Registry
from mmengine.runner import CheckpointLoader
from mmengine.utils import digit_version
from mmengine.utils.dl_utils import TORCH_VERSION

import ehrpose.registry  # noqa: F401 its registries come first

# NumPy 2 moved its private core; pickles name the place that the saving version used.
try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray

SCOPE = "ehrpose"


def apply() -> None:
    """Apply all cures; a second call changes nothing."""
    allow_resume()
    load_checkpoints_safely()
    complete_scope()


def allow_resume() -> None:
    """Let ``torch.load(weights_only=True)`` read the logs that MMEngine keeps in a checkpoint.

    Since 2.6 PyTorch refuses every class that is not allowed, and MMEngine saves its loss curves
    (``HistoryBuffer``: NumPy arrays) beside the weights. Nothing of this runs code when it is loaded.
    """
    if not hasattr(torch.serialization, "add_safe_globals"):  # before 2.4 PyTorch has no such list
        return
    dtypes = {type(np.dtype(kind)) for kind in (*"?bhilqBHILQefd", "U1", "S1")}
    allowed: list[Any] = [HistoryBuffer, np.ndarray, np.dtype, multiarray.scalar, multiarray._reconstruct, *dtypes]
    # A HistoryBuffer names its methods by getattr, which itself would be too much to allow.
    named: list[Any] = [(history_method, "builtins.getattr")]
    # Other NumPy versions write the same two functions under the other module name.
    for name in ("scalar", "_reconstruct"):
        named += [(getattr(multiarray, name), f"numpy.{core}.multiarray.{name}") for core in ("core", "_core")]
    torch.serialization.add_safe_globals(allowed)
    with contextlib.suppress(TypeError, AttributeError):  # 2.4 takes no names
        torch.serialization.add_safe_globals(named)


def history_method(owner: type, name: str) -> Any:
    """Return a method of HistoryBuffer.

    Raises:
        ValueError: The owner is another class, or the name is private.
    """
    if owner is not HistoryBuffer or name.startswith("_"):
        raise ValueError(f"a checkpoint may not ask for {name!r} of {owner!r}")
    return getattr(owner, name)


def load_checkpoints_safely() -> None:
    """Make MMEngine read local checkpoints with ``weights_only=True``, also where PyTorch's default is not that.

    onedl-mmengine runs the code in a pickle where the safe way fails. Before 2.5 PyTorch cannot be told what a
    checkpoint of MMEngine may hold, so its loader stays there.
    """
    if digit_version(TORCH_VERSION) >= digit_version("2.5.0"):
        CheckpointLoader.register_scheme("", load_from_local, force=True)


def load_from_local(filename: str, map_location: Any) -> Any:
    """Read a local checkpoint.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is no checkpoint, it is cut short, or it holds something other than data.
    """
    filename = os.path.expanduser(filename)
    if not os.path.isfile(filename):
        raise FileNotFoundError(f"checkpoint not found: {filename}")
    try:
        return torch.load(filename, map_location=map_location, weights_only=True)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"checkpoint {filename} cannot be read as plain data: {reason}") from error


def complete_scope() -> None:
    """Give the scope "ehrpose" an empty child of each MMEngine registry in which it has none.

    Otherwise MMEngine warns at every look-up of its own schedulers, optimizers and log writers.
    """
    for registry in list(vars(mmengine.registry).values()):
        if isinstance(registry, Registry) and registry.parent is None and SCOPE not in registry.children:
            Registry(registry.name, parent=registry, scope=SCOPE)
