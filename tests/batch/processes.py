"""Runs of ``ehrpose batch`` as processes that can be killed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 180  # seconds, on a busy machine


def start(words):
    """Start a run; its group is its own, so that a signal can be sent as a terminal does."""
    places = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, "-m", "ehrpose", "batch", *map(str, words)]
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process):
    """Return exit code, stdout and stderr of a run."""
    out, err = process.communicate(timeout=_PATIENCE)
    return process.returncode, out, err


def run(words):
    return finish(start(words))


def done_now(out):
    """Return the number of items that a run has done, by its summary."""
    return int(re.search(r"(\d+) of \d+ items? done in", out).group(1))


def workers_of(process):
    """Return the process numbers of a run's workers."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdecimal():
            continue
        try:
            stat = (folder / "stat").read_text()
            line = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        state, parent = stat.rpartition(")")[2].split()[:2]
        if int(parent) == process.pid and b"spawn_main" in line and state != "Z":
            found.append(int(folder.name))
    return found


def holder_of(lock):
    """Return the number of the process that has locked a file; None: nobody has."""
    try:
        inode = lock.stat().st_ino
    except OSError:
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].endswith(f":{inode}"):
            return int(words[4])
    return None


def wait_for(condition, process):
    """Return what ``condition`` returns once it is true, while a run is on."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        assert process.poll() is None, finish(process)
        time.sleep(0.005)
    raise TimeoutError


def records(out):
    return [path for path in (out / "items").glob("*.json") if path.name.count(".") == 1]


def after_records(out, count, process):
    """Wait until a run has done some items and is at others; return the locks of these."""
    wait_for(lambda: len(records(out)) >= count, process)
    return wait_for(lambda: list((out / "items").glob("*.lock")), process)


def kill(number):
    os.kill(number, signal.SIGKILL)


def kill_holders(lock, process):
    """Kill each process but the run's parent that locks a file, from now on; return the list of those."""
    killed = []

    def strike():
        while process.poll() is None:
            holder = holder_of(lock)
            if holder not in (None, process.pid, *killed):
                kill(holder)
                killed.append(holder)
            time.sleep(0.0005)

    threading.Thread(target=strike, daemon=True).start()
    return killed


def contents(out):
    """Return the bytes of all that a batch writes, but for its records, which have times."""
    paths = [path for path in out.rglob("*") if path.is_file()]
    kept = [path for path in paths if path not in records(out)]
    return {str(path.relative_to(out)): path.read_bytes() for path in kept}
