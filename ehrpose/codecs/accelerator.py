"""Compiled versions of the codec's slowest loops, used if numba is installed; bit-identical to the NumPy versions."""

from __future__ import annotations

import os
from functools import lru_cache
from types import ModuleType
from typing import Any, Callable, Optional

SWITCH = "EHRPOSE_NUMBA"


@lru_cache(maxsize=1)
def kernels() -> Optional[ModuleType]:
    """Return the module of compiled loops, or None without numba or with ``EHRPOSE_NUMBA=0``.

    The first decode of an installation compiles them, which takes seconds; numba caches the result next to the
    package, or in the user's cache folder.
    """
    if os.environ.get(SWITCH, "1") == "0":
        return None
    try:
        from ehrpose.codecs.compiled import kernels as compiled
    except ImportError:
        return None
    return compiled


def kernel(name: str) -> Optional[Callable[..., Any]]:
    """Return the compiled loop called ``name``, or None if its NumPy version is to be used."""
    module = kernels()
    return None if module is None else getattr(module, name)
