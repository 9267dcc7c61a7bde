"""CPU cores that this process may really use: a container's share and the affinity, not what the machine has."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import List, Optional, Union

CGROUP = "/sys/fs/cgroup"


def available_cores(root: Union[str, Path] = CGROUP) -> int:
    """Return the number of logical cores that this process may use, at least 1.

    Args:
        root: Folder of the control groups, version 1 or 2, as a container sees its own.
    """
    # macOS and Windows have no affinity to ask for.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else machine_cores()
    quota = cpu_quota(root)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def machine_cores() -> int:
    """Return the number of logical cores that the machine has, at least 1."""
    return os.cpu_count() or 1


def throttled_seconds(root: Union[str, Path] = CGROUP) -> Optional[float]:
    """Return how long the container was held back so far, as its time was used up; None where that is not counted."""
    folder = Path(root)
    for path, name, unit in ((folder, "throttled_usec", 1e-6), (folder / "cpu", "throttled_time", 1e-9)):
        try:
            lines = (path / "cpu.stat").read_text(encoding="ascii").splitlines()
            return next(unit * float(line.split()[1]) for line in lines if line.startswith(name))
        except (OSError, ValueError, IndexError, StopIteration):
            continue
    return None


def cpu_quota(root: Union[str, Path] = CGROUP) -> Optional[float]:
    """Return the cores' worth of time that the container may use, such as 1.5; None without a limit."""
    folder = Path(root)
    limits = _numbers(folder / "cpu.max")  # version 2: "150000 100000", or "max 100000"
    if limits is None:
        quota, period = (
            _numbers(folder / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")
        )  # version 1: -1 is no limit
        limits = None if quota is None or period is None else [*quota, *period]
    if limits is None or len(limits) != 2 or min(limits) <= 0:
        return None
    return limits[0] / limits[1]


def _numbers(path: Path) -> Optional[List[float]]:
    try:
        return [float(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return None
