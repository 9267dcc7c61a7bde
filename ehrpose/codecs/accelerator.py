"""Compiled versions of the codec's slowest loops, used if numba is installed; bit-identical to the NumPy versions."""

from __future__ import annotations

import os
from functools import lru_cache
from importlib import import_module
from types import ModuleType
from typing import Any, Callable, Optional

SWITCH = "EHRPOSE_NUMBA"


@lru_cache(maxsize=None)
def kernels(file: str = "kernels") -> Optional[ModuleType]:
    """Return the module of compiled loops, or None without numba or with ``EHRPOSE_NUMBA=0``.

    The first decode of an installation compiles them, which takes seconds; numba caches the result next to the
    package, or in the user's cache folder.

    Args:
        file: Module in ``ehrpose.codecs.compiled``.
    """
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        return import_module(f"ehrpose.codecs.compiled.{file}")
    except ImportError:
        return None


def kernel(name: str, file: str = "kernels") -> Optional[Callable[..., Any]]:
    """Return the compiled loop called ``name`` of a module, or None if its NumPy version is to be used."""
    module = kernels(file)
    return None if module is None else getattr(module, name)
