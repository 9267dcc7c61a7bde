"""Published weights and several processes or threads: fetched once, and a lock does not outlive its holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ehrpose.locks import locked
from ehrpose.model_zoo import find_model
from ehrpose.models.weights.arrival import local_weights

ROOT = Path(__file__).resolve().parents[2]
PATH = "/lite/theirs.pth"
KEPT = ["converted.pth", "record.json", "theirs.pth"]

RUN = """
import sys, time
from pathlib import Path
import ehrpose.model_zoo
ehrpose.model_zoo.zoo_root = lambda: Path(sys.argv[1])
from ehrpose.models.weights.arrival import local_weights
print("ready", flush=True)
sys.stdin.readline()
print(local_weights(ehrpose.model_zoo.find_model("xs")), flush=True)
"""


def start(zoo) -> subprocess.Popen:
    """Start a process that fetches the model once it gets a line."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(zoo.root)], env=env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_two_processes_fetch_once(zoo, server):
    server.delay = 0.05
    workers = [start(zoo) for _ in range(2)]
    assert [worker.stdout.readline() for worker in workers] == ["ready\n"] * 2
    told = []
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    for worker in workers:
        out, err = worker.communicate(timeout=120)
        assert worker.returncode == 0, err
        assert out.splitlines()[-1] == str(zoo.folder / "converted.pth")
        told.append(err)
    assert server.ranges(PATH) == [None]
    assert sorted("another process fetches it, waiting" in err for err in told) == [False, True]
    assert zoo.kept() == KEPT


def test_threads_fetch_once(zoo, server):
    server.delay = 0.02
    model, found = find_model("xs"), []
    threads = [threading.Thread(target=lambda: found.append(local_weights(model))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [zoo.folder / "converted.pth"] * 3
    assert server.ranges(PATH) == [None]


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
def test_a_killed_process_leaves_no_lock_and_its_part_is_used(zoo, server):
    server.delay = 0.3
    worker = start(zoo)
    worker.stdout.readline()
    worker.stdin.write("\n")
    worker.stdin.flush()
    part = zoo.folder / "theirs.pth.part"
    end = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.communicate(timeout=30)
    size, server.delay = part.stat().st_size, 0.0
    assert size > 0
    assert local_weights(find_model("xs")).is_file()
    assert server.ranges(PATH) == [None, f"bytes={size}-"]


def test_a_lock_is_waited_for(tmp_path):
    waited = []
    with locked(tmp_path / "lock"):
        thread = threading.Thread(
            target=lambda: locked(tmp_path / "lock", lambda: waited.append(1)).__enter__()
        )
        thread.start()
        thread.join(0.5)
        assert thread.is_alive()
        assert waited == [1]
    thread.join(5)
    assert not thread.is_alive()
    (tmp_path / "link").symlink_to(tmp_path / "lock")
    with pytest.raises(OSError, match="symbolic link"), locked(tmp_path / "link"):
        pass
