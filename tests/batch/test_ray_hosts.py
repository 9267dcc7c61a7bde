"""A batch on a Ray cluster of two hosts with networks and names of their own, one of which loses power."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hosts import two_hosts
from processes import ROOT, contents, done_now, finish, holder_of, kill, records, run, wait_for
from squares import write_video

pytestmark = pytest.mark.slow
NUM_VIDEOS = 32
PORT = 6379
_PATIENCE = 120  # seconds for a node to start, on a busy machine


@pytest.fixture(scope="module")
def words(small_network, tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        write_video(folder / f"{number:02d}.mp4", 60 + number % 3, g=6)
    return [folder, *small_network, "--track", "--threads", "1"]


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """What a run on this machine writes that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole") / "out"
    code, told, err = run([*words, "--workers", "1", "--out", out])
    assert (code, done_now(told)) == (0, NUM_VIDEOS), err
    return contents(out)


class Cluster:
    """A Ray node on each of two hosts, by ``ray start``, with a core and a folder of its own.

    Args:
        hosts: The first has the head.
        home: Home folder of all processes, without a token that another program has left for Ray.
    """

    def __init__(self, hosts, home):
        self.hosts, self.home = hosts, home
        self.address = f"{hosts[0].address}:{PORT}"
        # A path of sockets is limited to 107 characters.
        self.folders = [tempfile.mkdtemp(prefix="ray") for _ in hosts]
        self._start(0, "--head", f"--port={PORT}", "--include-dashboard=false")
        self._start(1, f"--address={self.address}")

    def popen(self, host, command, **options):
        """Start a command on a host; its group is its own."""
        # A batch must not wait for actors that no node has room for, though this asks Ray to.
        own = {"RAY_DATA_DEFAULT_WAIT_FOR_MIN_ACTORS_S": "600", "RAY_USAGE_STATS_ENABLED": "0"}
        env = {**os.environ, **own, "PYTHONPATH": str(ROOT), "HOME": str(self.home)}
        return subprocess.Popen([*host.prefix, *command], env=env, start_new_session=True, **options)

    def batch(self, words):
        """Start ``ehrpose batch`` on the first host."""
        command = [sys.executable, "-m", "ehrpose", "batch", *map(str, words)]
        command += ["--engine", "ray", "--address", self.address]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return self.popen(self.hosts[0], command, **pipes)

    def close(self):
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self, number, *words):
        host, log = self.hosts[number], self.home / f"node_{number}.log"
        program = str(Path(sys.executable).parent / "ray")
        command = [program, "start", "--block", "--num-cpus=1", f"--node-ip-address={host.address}"]
        command += [f"--temp-dir={self.folders[number]}", "--object-store-memory=100000000", *words]
        with log.open("w") as out:
            node = self.popen(host, command, stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + _PATIENCE
        while "Ray runtime started" not in log.read_text():
            assert node.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.2)


@pytest.fixture
def cluster(tmp_path):
    pytest.importorskip("ray", reason="ray is in the extra 'ray'")
    if not Path("/proc/locks").exists():
        pytest.skip("needs Linux's /proc")
    home = tmp_path / "home"
    home.mkdir()
    with two_hosts(with_names=True) as hosts, contextlib.closing(Cluster(hosts, home)) as made:
        yield made


def stopped_at_an_item(host, out):
    """Stop a process of a host that is in the middle of an item; return the item's key, else None."""
    for lock in (out / "items").glob("*.lock"):
        holder = holder_of(lock)
        if holder in host.processes():
            os.kill(holder, signal.SIGSTOP)
            if holder_of(lock) == holder and not lock.with_suffix(".json").exists():
                return lock.stem
            os.kill(holder, signal.SIGCONT)
    return None


@pytest.mark.parametrize("is_told", [False, True])
def test_a_host_that_loses_power_costs_nothing(words, whole, cluster, tmp_path, is_told):
    out = tmp_path / "out"
    first, second = cluster.hosts
    process = cluster.batch([*words, "--out", out])
    try:
        wait_for(lambda: work_of(out, first) and work_of(out, second), process)
        lost = wait_for(lambda: stopped_at_an_item(second, out), process)
        if not is_told:  # nor does the network say that its connections have ended
            second.cut_cable()
        second.cut_power()
        before = {path: path.read_bytes() for path in records(out)}
        by_second = work_of(out, second)
        code, told, err = finish(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            kill(process.pid)
    assert code == 0, err
    assert len(before) < NUM_VIDEOS, "it was in the middle"
    assert len(records(out)) == NUM_VIDEOS
    assert lost in work_of(out, first)
    assert work_of(out, second) == by_second
    assert len(work_of(out, first)) + len(by_second) == NUM_VIDEOS
    assert {path: path.read_bytes() for path in before} == before, "nothing is done twice"
    assert done_now(told) <= NUM_VIDEOS
    assert contents(out) == whole


def work_of(out, host):
    """Return the keys of the items that a host has done, by its records."""
    found = [json.loads(path.read_text()) for path in records(out)]
    return {record["key"] for record in found if record["host"] == host.name}
