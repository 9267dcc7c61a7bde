"""A batch on a Ray cluster of two hosts with networks of their own, one of which loses power."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hosts import two_hosts
from processes import contents, finish, records, run, wait_for
from squares import write_video

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]
PORT = 6379
NUM_VIDEOS = 24
# So that both hosts have an actor before the first item is done.
BOTH = {"RAY_DATA_DEFAULT_WAIT_FOR_MIN_ACTORS_S": "600", "RAY_USAGE_STATS_ENABLED": "0"}


def ray_node(host, folder, *words):
    """Start Ray on a host, in a folder of its own."""
    program = Path(sys.executable).parent / "ray"
    command = [*host.prefix, str(program), "start", "--block", "--num-cpus=1", "--disable-usage-stats",
               f"--node-ip-address={host.address}", *words]  # fmt: skip
    env = {**os.environ, **BOTH, "PYTHONPATH": str(ROOT)}
    log = (folder / f"{host.name}.log").open("w")
    return subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def actors_on(host):
    """Return the processes of a host that do items."""
    found = []
    for number in host.processes():
        try:
            line = Path(f"/proc/{number}/cmdline").read_bytes()
        except OSError:
            continue
        if b"ray::MapWorker" in line or b"ItemActor" in line:
            found.append(number)
    return found


def test_a_host_that_loses_power_costs_nothing(small_network, tmp_path):
    pytest.importorskip("ray", reason="ray is in the extra 'ray'")
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(NUM_VIDEOS):
        write_video(folder / f"{number:02d}.mp4", 40 + number % 3, g=6)
    words = [folder, *small_network, "--piece-frames", "40"]
    code, _, err = run([*words, "--workers", "1", "--out", tmp_path / "whole"])
    assert code == 0, err
    out = tmp_path / "out"
    with two_hosts() as (first, second):
        started = [ray_node(first, tmp_path, "--head", f"--port={PORT}", f"--temp-dir=/tmp/r{os.getpid()}")]
        address = f"{first.address}:{PORT}"
        time.sleep(5)
        started.append(ray_node(second, tmp_path, f"--address={address}"))
        _wait_for_nodes(first, address, 2)
        command = [*first.prefix, sys.executable, "-m", "ehrpose", "batch", *map(str, words), "--engine", "ray",
                   "--address", address, "--workers", "2", "--out", str(out)]  # fmt: skip
        env = {**os.environ, **BOTH, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(
            command,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_for(lambda: len(actors_on(second)) > 0 and len(records(out)) >= 2, process)
        done = len(records(out))
        second.cut_power()
        code, _, err = finish(process)
        for node in started:
            node.kill()
    assert done < NUM_VIDEOS, "it was in the middle"
    assert code == 0, err
    assert len(records(out)) == NUM_VIDEOS
    assert contents(out) == contents(tmp_path / "whole")


def _wait_for_nodes(host, address, count):
    connect = f"import ray; ray.init(address={address!r}, log_to_driver=False)"
    code = f"{connect}; print('alive', sum(node['Alive'] for node in ray.nodes()))"
    for _ in range(30):
        found = subprocess.run(
            [*host.prefix, sys.executable, "-c", code], capture_output=True, text=True,
            env={**os.environ, **BOTH},
        )  # fmt: skip
        if f"alive {count}" in found.stdout:
            return
        time.sleep(2)
    raise TimeoutError(found.stderr[-2000:])
