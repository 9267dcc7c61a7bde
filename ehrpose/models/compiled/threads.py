"""Compiled kernels on torch's own threads.

Two thread pools on one set of cores slow each other down, as each one's threads spin between tasks. So the kernels
run as parallel regions of the OpenMP library that torch brings along (GNU libgomp, on Linux).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Callable

import numpy as np
import torch


@lru_cache(maxsize=None)
def parallel_regions() -> Callable[[int, int], None] | None:
    """Return a function that runs a C function (address) over an argument (address) on torch's threads.

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
            return lambda function, data: start(function, data, torch.get_num_threads(), 0)
    return None


def run(function: int, args: Sequence[int]) -> None:
    """Run a compiled function on torch's threads; each is given the address of the same int64 array."""
    array, start = np.array(args, np.int64), parallel_regions()
    if start is None:
        raise RuntimeError(
            "torch brings no GNU OpenMP along: expected cpu_training.why_no_kernels to be asked first"
        )
    start(function, array.ctypes.data)
