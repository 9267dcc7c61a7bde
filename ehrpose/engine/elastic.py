"""Where a distributed run starts: all processes from one checkpoint, and restarted ones where they were.

torchrun restarts all processes if one of them, or an agent, has ended (``--max-restarts``). The command is then the
first one again, without a wish to resume if the user had none. ``TORCHELASTIC_RESTART_COUNT`` does not tell: each agent
counts only the failures of its own processes, so it may be 0 in some or all processes after a restart. What stays is
an agent: a checkpoint that was written under an agent that still runs is this job's own.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch.distributed
from mmengine.runner import find_latest_checkpoint

from ehrpose.models.weights.checkpoint import read_checkpoint

# The key of the agents' names in a checkpoint's message hub.
AGENTS = "elastic_agents"


def check_restarts(environ: Mapping[str, str] = os.environ) -> None:
    """Raise ValueError if torchrun is to restart processes that would then meet the addresses of ended ones.

    An agent that shares its store with the processes keeps it over restarts: gloo and NCCL may then wait for a process
    that has ended, and an agent that was started again gets no address at all (PyTorch 2.4 to at least 2.13).
    """
    restarts = int(environ.get("TORCHELASTIC_MAX_RESTARTS") or 0)
    if restarts > 0 and environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
        raise ValueError(
            "torchrun cannot restart this safely: run it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment "
            f"and with --rdzv-backend=c10d, or without --max-restarts (got {restarts})"
        )


def agent_name() -> str | None:
    """Return what tells the torchrun agent that started this process from all others; None without one."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    agent = os.getppid()
    try:
        status = Path(f"/proc/{agent}/stat").read_text(encoding="utf-8", errors="replace")
        started = status[status.rindex(")") :].split()[20]
    except OSError:  # no Linux
        started = "0"
    return f"{socket.gethostname()} {agent} {started}"


def gather(value: Any) -> list[Any]:
    """Return the value of each process, in the order of their ranks; in a run of one process, its own."""
    if not torch.distributed.is_initialized():
        return [value]
    values: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def agree_on_start(resume: bool, load_from: str | None, work_dir: str) -> tuple[bool, str | None]:
    """Return whether to resume and from which file, as the first process decides.

    Args:
        resume: Whether the user wants to resume.
        load_from: The checkpoint to resume from, or to take the weights of; None for the latest or for none.
        work_dir: Folder of the run.

    Returns:
        The same two in all processes. The latest checkpoint, if it was written earlier in this job of torchrun,
        whatever was asked for.

    Raises:
        ValueError: A process does not see the checkpoint that the first one resumes from.
    """
    agents = {name for name in gather(agent_name()) if name}
    start = resume, load_from
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        wanted = resume and load_from is None
        latest = find_latest_checkpoint(work_dir) if wanted or agents else None
        if latest is not None and (wanted or agents & _agents_of(latest)):
            start = True, latest
        elif wanted:
            start = False, None
    start = gather(start)[0]
    file = start[1]
    if start[0] and file is not None and "://" not in file:
        blind = sorted(
            {host for host in gather(None if os.path.isfile(file) else socket.gethostname()) if host}
        )
        if blind:
            raise ValueError(
                f"{file} is not visible on {', '.join(blind)}: to resume, all hosts need the same `work_dir`, in a "
                "folder that they share"
            )
    return start


def _agents_of(file: str) -> set[str]:
    if not os.path.isfile(file):
        return set()
    return set((read_checkpoint(file).get("message_hub") or {}).get("runtime_info", {}).get(AGENTS) or ())
