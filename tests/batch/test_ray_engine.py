"""Batches on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from processes import contents, done_now, finish, kill_holders, records, run, start, wait_for
from squares import write_video

pytestmark = pytest.mark.slow
NUM_ITEMS = 16


@pytest.fixture(scope="module")
def words(scenes_folder, small_network):
    return [scenes_folder, *small_network, "--track", "--item-photos", "2", "--piece-frames", "9"]


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """What local processes write."""
    out = tmp_path_factory.mktemp("whole") / "out"
    code, told, err = run([*words, "--workers", "1", "--out", out])
    assert (code, done_now(told)) == (1, NUM_ITEMS), err
    return contents(out)


@pytest.fixture
def cluster():
    pytest.importorskip("ray", reason="ray is in the extra 'ray'")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.extra = nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def test_a_node_that_dies_costs_nothing_and_local_processes_go_on(words, whole, cluster, tmp_path):
    out = tmp_path / "out"
    killed = []

    def strike():
        while not records(out):
            time.sleep(0.02)
        killed.append(len(records(out)))
        cluster.remove_node(cluster.extra, allow_graceful=False)

    striker = threading.Thread(target=strike, daemon=True)
    striker.start()
    code, told, err = run(
        [*words, "--engine", "ray", "--address", cluster.address, "--workers", "2", "--out", out]
    )
    striker.join(10)
    assert code == 1, err
    assert 1 <= killed[0] < NUM_ITEMS, "it was in the middle"
    assert done_now(told) <= NUM_ITEMS
    assert len(records(out)) == NUM_ITEMS
    assert contents(out) == whole
    code, told, err = run([*words, "--workers", "1", "--out", out])
    assert (code, done_now(told)) == (1, 0), err


def test_every_node_works_also_one_that_joins(words, whole, cluster, tmp_path, monkeypatch):
    # An item may take longer than Ray waits for any progress.
    monkeypatch.setenv("RAY_DATA_EXECUTION_NO_PROGRESS_TIMEOUT_S", "0.5")
    out = tmp_path / "out"
    process = start([*words, "--engine", "ray", "--address", cluster.address, "--workers", "3", "--out", out])
    held = set()
    try:
        for number in range(3):
            if number == 2:
                cluster.add_node(num_cpus=1)
            # Whoever has done an item is held up, so that the next one is done by another.
            (worker,) = wait_for(lambda: workers_of_records(out) - held, process)
            os.kill(worker, signal.SIGSTOP)
            held.add(worker)
    finally:
        for worker in held:
            os.kill(worker, signal.SIGCONT)
    code, told, err = finish(process)
    assert (code, done_now(told)) == (1, NUM_ITEMS), err
    assert workers_of_records(out) == held
    assert contents(out) == whole


def workers_of_records(out):
    return {json.loads(path.read_text())["process"] for path in records(out)}


def test_what_processes_began_ray_completes(words, whole, cluster, tmp_path):
    out = tmp_path / "out"
    code, told, err = run([*words, "--workers", "1", "--shard", "1/2", "--out", out])
    first = done_now(told)
    assert 0 < first < NUM_ITEMS
    code, told, err = run([*words, "--engine", "ray", "--address", cluster.address, "--out", out])
    assert code == 1, err
    assert done_now(told) == NUM_ITEMS - first
    assert contents(out) == whole


def test_an_item_that_kills_its_actors_is_given_up(words, whole, cluster, tmp_path):
    if not Path("/proc/locks").exists():
        pytest.skip("needs Linux's /proc")
    out = tmp_path / "out"
    process = start([*words, "--engine", "ray", "--address", cluster.address, "--retries", "1", "--out", out])
    wait_for(lambda: list((out / "items").glob("b-*.plan.json")), process)
    (plan,) = (out / "items").glob("b-*.plan.json")
    key = plan.name.replace(".plan.json", "-0003")
    killed = kill_holders(out / "items" / f"{key}.lock", process)
    code, _, err = finish(process)
    assert code == 1, err
    assert len(killed) == 2
    assert "b.mkv: the process that worked on it ended 2 times" in err
    code, told, err = run([*words, "--workers", "1", "--out", out])
    assert (code, done_now(told)) == (1, 1), err
    assert contents(out) == whole


def test_twenty_videos_interrupted_twice_and_resumed_on_another_engine(small_network, cluster, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(17):
        write_video(folder / f"{number:02d}.mp4", 12 + number, g=6)
    for number in range(17, 20):
        (folder / f"{number:02d}.mp4").write_bytes(b"\0 no video")
    words = [folder, *small_network, "--smooth", "--piece-frames", "8", "--workers", "2"]
    code, told, err = run([*words, "--out", tmp_path / "whole"])
    assert code == 1, err
    assert "17 videos: " in told
    out = tmp_path / "out"
    for count, number in ((5, signal.SIGINT), (15, signal.SIGKILL)):
        process = start([*words, "--out", out])
        wait_for(lambda count=count: len(records(out)) >= count, process)
        os.killpg(process.pid, number)
        finish(process)
    assert not (out / "table.jsonl").exists()
    done = len(records(out))
    code, told, err = run([*words, "--engine", "ray", "--address", cluster.address, "--out", out])
    assert code == 1, err
    assert "3 failed, 0 incomplete" in err
    assert done_now(told) == len(records(out)) - done > 0
    assert contents(out) == contents(tmp_path / "whole")


def test_mistakes_are_the_same_lines_as_without_ray(scenes_folder, cluster, tmp_path):
    words = [scenes_folder, "--engine", "ray", "--out", tmp_path / "out"]
    code, _, err = run([*words, "--address", cluster.address, "--model", "ehrnet-smal"])
    assert code == 2
    assert "did you mean ehrnet-small?" in err
    assert "Traceback" not in err
