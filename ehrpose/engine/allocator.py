"""Memory of CPU runs: freed memory is kept for the next iteration instead of returned to the system.

glibc's malloc maps every large block separately and unmaps it when it is freed, so each iteration of CPU training
pays the page faults of all its activations again. Measurements: docs/benchmarks.md.
"""

from __future__ import annotations

import ctypes

# Parameters of mallopt, from glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_LARGEST = 2**31 - 1


def keep_freed_memory() -> bool:
    """Make the C library of this process keep freed memory; return whether that is possible (glibc only)."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _LARGEST), (_TOP_PAD, 64 << 20))
    # A list, so that each is set even if another fails. musl has the function, but it does nothing.
    return all([mallopt(parameter, value) == 1 for parameter, value in settings])
