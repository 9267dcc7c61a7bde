"""Agents of torchrun on this machine as two hosts, which train the toy and can be killed."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from hosts import THIS, Host
from toy_parts import loader, toy_config

ROOT = Path(__file__).resolve().parents[2]
ITERATIONS = 8
PATIENCE = 240  # seconds, on a busy machine
# Tells who trains, and waits at an iteration until a file is there, so that a test strikes at a known moment.
HOLD = """
import os, time
from mmengine.hooks import Hook
from ehrpose.registry import HOOKS

@HOOKS.register_module(force=True)
class Hold(Hook):
    def before_train_iter(self, runner, batch_idx, data_batch=None):
        with open(f"seen_{os.environ['RANK']}.txt", "a") as seen:
            seen.write(f"{os.getpid()} {runner.iter}\\n")
        end = time.monotonic() + 200
        while runner.iter == 4 and not os.path.exists("go_on") and time.monotonic() < end:
            time.sleep(0.05)
"""


def write_config(folder: Path) -> Path:
    """Write a config with a checkpoint after each of eight iterations, and the hook above; return the file."""
    checkpoint = {"type": "SafeCheckpointHook", "interval": 1, "by_epoch": False, "max_keep_ckpts": 2}
    cfg = toy_config(
        folder,
        train_cfg={"type": "ResumableIterBasedTrainLoop", "max_iters": ITERATIONS, "val_interval": 4},
        default_hooks={"checkpoint": checkpoint},
        log_processor={"by_epoch": False},
        train_dataloader={**loader(), "sampler": {"type": "InfiniteSampler", "shuffle": True}},
        param_scheduler=[{"type": "LinearLR", "begin": 0, "end": 7, "start_factor": 0.1, "by_epoch": False}],
        custom_imports={"imports": ["toy_parts", "hold"]},
        custom_hooks=[{"type": "Hold"}],
    )
    cfg.pop("work_dir")
    (folder / "hold.py").write_text(HOLD)
    cfg.dump(str(folder / "toy.py"))
    return folder / "toy.py"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return the variables for a process that trains in a folder."""
    places = [str(ROOT), str(ROOT / "tests/engine"), str(folder), os.environ.get("PYTHONPATH", "")]
    own = {"PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1", "PYTHON": sys.executable}
    return {**os.environ, **own, "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", **settings}


class Agents:
    """Agents of one job that train ``toy.py`` in a folder, with one process each.

    Args:
        folder: Where ``write_config`` has written.
        options: Options of train.py.
        hosts: Where the first agent runs, and all others.
    """

    def __init__(self, folder: Path, *options: str, hosts: tuple[Host, Host] = (THIS, THIS)):
        self.folder, self.options, self.hosts = folder, options, hosts
        self.port = free_port()
        self.started: list[subprocess.Popen] = []

    def start(self, **settings: str) -> subprocess.Popen:
        """Start an agent, as a scheduler does on a host."""
        number = min(len(self.started), 1)
        host = self.hosts[number]
        settings = {"GLOO_SOCKET_IFNAME": host.device, **settings}
        command = [
            *(
                *host.prefix,
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--nnodes=2",
                "--nproc-per-node=1",
            ),
            *("--rdzv-backend=c10d", f"--rdzv-endpoint={self.hosts[0].address}:{self.port}", "--rdzv-id=job"),
            # Whether it holds the store is guessed from the machine's name, which may lead to another network.
            *(
                "--max-restarts=3",
                f"--rdzv-conf=is_host={1 - number}",
                f"--local-addr={host.address}",
                str(ROOT / "tools/train.py"),
                "toy.py",
            ),
            *("--work-dir", "run", "--launcher", "pytorch", *self.options),
        ]
        log = self.folder / f"agent_{len(self.started)}.log"
        with log.open("w") as out:
            agent = subprocess.Popen(
                command,
                cwd=self.folder, env=environment(self.folder, **settings),
                stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.started.append(agent)
        return agent

    def start_both(self) -> tuple[subprocess.Popen, subprocess.Popen]:
        """Start two agents; the first hosts the store."""
        first = self.start()
        wait_for(lambda: _listens(self.hosts[0], self.port), self, "the first agent to open its port")
        return first, self.start()

    def workers_at(self, iteration: int) -> list[int]:
        """Return the process of each rank once both are at an iteration of the training, from 0."""

        def found():
            last = [seen(self.folder, rank)[-1:] for rank in (0, 1)]
            if all(row and row[0][1] == iteration for row in last):
                return [row[0][0] for row in last]
            return None

        return wait_for(found, self, f"both processes to reach iteration {iteration}")

    def wait_for_the_end(self) -> None:
        """Let the training go on once a second process has taken the place of rank 1's, to the end of all agents."""
        wait_for(
            lambda: len({process for process, _ in seen(self.folder, 1)}) == 2,
            self,
            "a second process of rank 1",
        )
        (self.folder / "go_on").touch()
        wait_for(lambda: [agent.poll() for agent in self.started] == [0, -9, 0], self, "both agents to end")

    def codes(self) -> list[int]:
        """Return the exit codes of all agents once they have ended."""
        wait_for(lambda: all(agent.poll() is not None for agent in self.started), self, "the agents to end")
        return [agent.returncode for agent in self.started]

    def logs(self) -> str:
        texts = [path.read_text()[-3000:] for path in sorted(self.folder.glob("agent_*.log"))]
        return "\n--------\n".join(texts)

    def stop(self) -> None:
        """Kill what is left of the agents and of the processes that they have started."""
        for agent in self.started:
            kill_group(agent.pid)
            agent.wait(PATIENCE)
        for rank in (0, 1):
            for process in {process for process, _ in seen(self.folder, rank)}:
                if f"{self.folder}" in _environment_of(process):
                    kill(process)


def seen(folder: Path, rank: int) -> list[tuple[int, int]]:
    """Return process and iteration, from 0, of all that a rank has begun to train."""
    path = folder / f"seen_{rank}.txt"
    rows = re.findall(r"^(\d+) (\d+)$", path.read_text() if path.exists() else "", re.MULTILINE)
    return [(int(process), int(iteration)) for process, iteration in rows]


def kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def kill_group(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)


def wait_for(condition, agents: Agents, what: str):
    """Return what ``condition`` returns once it is true."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE} s for {what}\n{agents.logs()}")


def _listens(host: Host, port: int) -> bool:
    call = f"import socket, sys; sys.exit(socket.socket().connect_ex(('{host.address}', {port})))"
    return subprocess.run([*host.prefix, sys.executable, "-c", call], check=False).returncode == 0


def _environment_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""
