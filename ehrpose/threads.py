"""How many CPU threads the libraries use, and how long threads that wait spin; set once, by the command line.

OpenMP, which torch uses, lets a thread that waits spin for some milliseconds, in the hope of work. Where another
program wants the core, or a container has less time than cores, the spinning takes it from the thread that has work; a
thread that sleeps at once makes the others wait until it is awake. GNU's OpenMP, which torch's wheels for Linux bring,
can spin for some microseconds, which costs neither: docs/benchmarks.md. LLVM's and Intel's gain nothing from that under
load, so there threads sleep if the machine is busy. The variables count when torch is loaded, so the entry points set
them first, for this process and those that it starts. A program that imports ehrpose keeps its own settings.
"""

from __future__ import annotations

import os
from typing import MutableMapping, Optional

from ehrpose.cpu import available_cores, machine_cores

WAIT_POLICY, NUM_THREADS, OPENCV_THREADS = "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"
SPIN_COUNT, BLOCK_TIME = "GOMP_SPINCOUNT", "KMP_BLOCKTIME"
# Turns of GNU's waiting loop: some tens of microseconds.
SHORT_SPIN = 3000
# Microseconds that threads of ONNX Runtime spin, which costs as little.
SHORT_SPIN_US = 20
# Other names by which a user may have settled the same.
_WAITS = (WAIT_POLICY, SPIN_COUNT, BLOCK_TIME, "KMP_LIBRARY")
_NUMBERS = (NUM_THREADS, "MKL_NUM_THREADS")
SETTINGS = (*_WAITS, *_NUMBERS, OPENCV_THREADS)


def prepare_process(env: Optional[MutableMapping[str, str]] = None) -> None:
    """Let waiting threads spin briefly, and use no more of them than a container's share; what the user has set stays.

    For entry points, before torch is imported.

    Args:
        env: Environment to change; None takes that of this process.
    """
    env = os.environ if env is None else env
    cores = available_cores()
    is_shared = cores < machine_cores()
    if not any(name in env for name in _WAITS):
        env[SPIN_COUNT] = str(SHORT_SPIN)
        load = load_average()
        if is_shared or (load is not None and load > cores / 2):
            env[BLOCK_TIME] = "0"
    if not is_shared:
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


def wait_policy() -> str:
    """Return ``"passive"`` or ``"active"`` if the user wants waiting threads to sleep or to spin, else ``""``."""
    policy = os.environ.get(WAIT_POLICY, "").strip().lower()
    return policy if policy in ("passive", "active") else ""


def spins_long() -> bool:
    """Whether threads of OpenMP that wait may take the core from others for milliseconds."""
    if wait_policy():
        return wait_policy() == "active"
    spins = os.environ.get(SPIN_COUNT, "").strip()
    return not (spins.isdecimal() and int(spins) <= 10 * SHORT_SPIN)


def load_average() -> Optional[float]:
    """Return the mean number of processes that wanted a core in the last minute; None where it is not known."""
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows
        return None
