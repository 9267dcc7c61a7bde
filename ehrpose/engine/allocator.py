"""Memory of CPU runs: freed tensors are kept for the next iteration instead of given back to the system.

glibc's malloc maps every large block anew and unmaps it when it is freed, so each iteration of a CPU training
pays the page faults of all its activations again. Figures: docs/benchmarks.md.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the C library of this process keep what is freed; True if it could be told so (glibc only)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, 64 << 20))
    # A list: each is set, whatever the others answer. musl has the function, but it does nothing.
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])
