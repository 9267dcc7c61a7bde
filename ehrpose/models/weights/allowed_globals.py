"""Classes that a checkpoint of the Runner may contain in addition to tensors and plain data."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

# NumPy 2 renamed its private core; a pickle contains the name used by the version that wrote it.
try:
    from numpy._core import multiarray
except ImportError:  # NumPy 1
    from numpy.core import multiarray  # type: ignore[no-redef]


def allowed_globals() -> list[Any]:
    """Return the harmless classes that a checkpoint of the Runner contains in addition to tensors.

    These are the logs of MMEngine (``HistoryBuffer``) and the NumPy arrays and scalars in them; none runs code when
    loaded. For ``torch.serialization.safe_globals``.
    """
    return [HistoryBuffer, np.ndarray, np.dtype, *_DTYPES, *_NAMED]


def _history_statistic(owner: type, name: str) -> Any:
    if owner is not HistoryBuffer or name.startswith("_"):
        raise pickle.UnpicklingError(f"Unsupported global: GLOBAL builtins.getattr of {owner!r}")
    return getattr(owner, name)


def _under_name(function: Callable[..., Any], module: str, name: str) -> Callable[..., Any]:
    """Return a function that pickles find under another name; PyTorch before 2.6 does not accept (function, name)."""

    def stand_in(*args: Any) -> Any:
        return function(*args)

    stand_in.__module__, stand_in.__name__, stand_in.__qualname__ = module, name, name
    return stand_in


_DTYPES = tuple({type(np.dtype(kind)) for kind in (*"?bhilqBHILQefd", "U1", "S1")})
_NAMED = (
    # A pickled HistoryBuffer finds its statistics with getattr; the real one would give access to everything.
    _under_name(_history_statistic, "builtins", "getattr"),
    *(
        _under_name(getattr(multiarray, name), f"numpy.{core}.multiarray", name)
        for name in ("_reconstruct", "scalar")
        for core in ("core", "_core")
    ),
)
