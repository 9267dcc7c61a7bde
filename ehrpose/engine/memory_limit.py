"""How much memory a training may still take, on the CPU within its container and on CUDA."""

from __future__ import annotations

import re
from pathlib import Path

import torch

# Container limits: of cgroup v2 and of v1, each with what is in use and what of that can be dropped at once.
_CGROUPS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes(device: str, proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory in bytes that is still available on a device.

    On the CPU that is the smaller one of what the system has (MemAvailable) and what the container's limit leaves.

    Args:
        device: ``"cpu"`` or ``"cuda"``.
        proc: Where the system tells its memory.
        cgroup: Where the container's limit is.

    Raises:
        ValueError: The system does not tell; Linux does.
    """
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    try:
        text = (proc / "meminfo").read_text()
        found = int(re.search(r"MemAvailable:\s+(\d+) kB", text)[1]) * 1024  # type: ignore[index]
    except (OSError, TypeError) as error:
        raise ValueError(
            "`batch`: this system does not tell its free memory (Linux does); give a number"
        ) from error
    left = [_left_in(cgroup, *names) for names in _CGROUPS]
    return min([found, *(size for size in left if size is not None)])


def _left_in(cgroup: Path, limit: str, used: str, droppable: str) -> int | None:
    """Return what a container's limit leaves, None without one."""
    try:
        most, now = int((cgroup / limit).read_text()), int((cgroup / used).read_text())
        stat = (cgroup / limit).with_name("memory.stat").read_text()
    except (OSError, ValueError):  # no such file, or "max"
        return None
    cached = re.search(rf"^{droppable} (\d+)$", stat, re.M)
    return max(most - now + (int(cached[1]) if cached else 0), 0)
