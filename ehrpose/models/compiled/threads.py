"""Compiled kernels on torch's own threads.

Two thread pools on one set of cores slow each other down, as each one's threads spin between tasks. So the kernels
run as parallel regions of the OpenMP library that torch brings along (GNU libgomp, on Linux).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch


@lru_cache(maxsize=None)
def parallel_regions() -> Any:
    """Return libgomp's function that runs a C function over an argument on some threads, or None.

    None: torch does not bring a libgomp along.
    """
    package = os.path.dirname(os.path.abspath(torch.__file__))
    folders = {os.path.join(package, "lib"), os.path.join(os.path.dirname(package), "torch.libs")}
    folders |= {os.path.realpath(folder) for folder in folders}
    try:
        with open("/proc/self/maps") as file:
            loaded = {line.split(None, 5)[5].strip() for line in file if "libgomp" in line}
    except OSError:
        return None
    for path in sorted(loaded):
        if os.path.dirname(path) in folders:
            start: Any = ctypes.CDLL(path).GOMP_parallel
            start.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
            start.restype = None
            return start
    return None


@lru_cache(maxsize=None)
def _array_type(size: int) -> Any:
    return ctypes.c_int64 * size


@lru_cache(maxsize=None)
def _function(address: int) -> Any:
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)


def run(function: int, args: Sequence[int]) -> None:
    """Run a compiled function, by its address, over an int64 array."""
    _function(function)(_array_type(len(args))(*args))


def run_parallel(function: int, args: Sequence[int]) -> None:
    """Run a compiled function on torch's threads, all over the same int64 array."""
    start = parallel_regions()
    if start is None:
        raise RuntimeError(
            "torch brings no GNU OpenMP along: expected cpu_training.why_no_kernels to be asked first"
        )
    start(function, _array_type(len(args))(*args), torch.get_num_threads(), 0)
