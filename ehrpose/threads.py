"""How many CPU threads the libraries use, and whether threads that wait sleep; set once, by the command line.

OpenMP, which torch uses, lets a thread that waits spin for some milliseconds, in the hope of work. Where another
program wants the core, or a container has less time than cores, the spinning takes it from the thread that has work:
docs/benchmarks.md. ``OMP_WAIT_POLICY`` and ``OMP_NUM_THREADS`` (OpenMP 5.2, chapter 21; read by GNU's, LLVM's and
Intel's) count when torch is loaded, so the entry points set them first, for this process and those that it starts. A
program that imports ehrpose keeps its own settings.
"""

from __future__ import annotations

import os
from typing import MutableMapping, Optional

from ehrpose.cpu import available_cores, machine_cores

WAIT_POLICY, NUM_THREADS, OPENCV_THREADS = "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"
# Other names by which a user may have settled the same.
_WAITS = (WAIT_POLICY, "GOMP_SPINCOUNT", "KMP_BLOCKTIME", "KMP_LIBRARY")
_NUMBERS = (NUM_THREADS, "MKL_NUM_THREADS")
SETTINGS = (*_WAITS, *_NUMBERS, OPENCV_THREADS)


def prepare_process(env: Optional[MutableMapping[str, str]] = None) -> None:
    """Let waiting threads sleep, and use no more of them than a container's share; what the user has set stays.

    For entry points, before torch is imported.

    Args:
        env: Environment to change; None takes that of this process.
    """
    env = os.environ if env is None else env
    if not any(name in env for name in _WAITS):
        env[WAIT_POLICY] = "passive"
    cores = available_cores()
    if cores >= machine_cores():
        return
    if not any(name in env for name in _NUMBERS):
        env[NUM_THREADS] = str(cores)
    env.setdefault(OPENCV_THREADS, str(cores))


def default_threads() -> Optional[int]:
    """Return the threads of a library that does not read OMP_NUM_THREADS; None: its own default is right."""
    first = os.environ.get(NUM_THREADS, "").split(",")[0].strip()  # the others are for nested loops
    if first.isdecimal() and int(first) > 0:
        return int(first)
    cores = available_cores()
    return cores if cores < machine_cores() else None


def waits_asleep() -> bool:
    """Whether the threads of libraries that do not read OMP_WAIT_POLICY are to sleep while they wait."""
    return os.environ.get(WAIT_POLICY, "").strip().lower() == "passive"
