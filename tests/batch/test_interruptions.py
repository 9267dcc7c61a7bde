"""A batch that is interrupted anywhere and started again gives the bytes of one that was not."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from processes import (
    after_records,
    contents,
    done_now,
    finish,
    holder_of,
    kill,
    kill_holders,
    records,
    run,
    start,
    wait_for,
    workers_of,
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/locks").exists(), reason="needs Linux's /proc"),
]
NUM_ITEMS = 16


@pytest.fixture(scope="module")
def words(scenes_folder, small_network):
    """Options of all runs."""
    return [scenes_folder, *small_network, "--track", "--item-photos", "2", "--piece-frames", "9"]


@pytest.fixture(scope="module")
def whole(words, tmp_path_factory):
    """What a run that nobody disturbs writes, by one worker."""
    out = tmp_path_factory.mktemp("whole") / "out"
    code, told, err = run([*words, "--workers", "1", "--out", out])
    assert (code, done_now(told)) == (1, NUM_ITEMS), err
    assert "1 failed, 0 incomplete, 1 image not read" in err
    assert len(records(out)) == NUM_ITEMS
    return contents(out)


def goes_on(words, out, whole):
    """Run again; return how many items it did, after it was compared with the undisturbed run."""
    code, told, err = run([*words, "--workers", "2", "--out", out])
    assert code == 1, err
    assert contents(out) == whole
    return done_now(told)


def test_a_killed_worker_is_replaced_and_its_item_done_again(words, whole, tmp_path):
    out = tmp_path / "out"
    process = start([*words, "--workers", "2", "--out", out])
    locks = after_records(out, 2, process)
    victim = wait_for(
        lambda: next(filter(None, map(holder_of, locks)), None) or workers_of(process)[0], process
    )
    kill(victim)
    code, told, err = finish(process)
    assert (code, done_now(told)) == (1, NUM_ITEMS), err
    assert contents(out) == whole


def test_after_the_parent_was_killed_its_workers_end_and_the_next_run_goes_on(words, whole, tmp_path):
    out = tmp_path / "out"
    process = start([*words, "--workers", "2", "--out", out])
    after_records(out, 4, process)
    workers = workers_of(process)
    assert len(workers) == 2
    process.kill()
    finish(process)
    end = time.monotonic() + 60
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers):
        assert time.monotonic() < end, "orphans"
        time.sleep(0.05)
    done = {path: path.stat().st_mtime_ns for path in records(out)}
    assert 4 <= len(done) < NUM_ITEMS
    assert goes_on(words, out, whole) == NUM_ITEMS - len(done)
    assert {path: path.stat().st_mtime_ns for path in done} == done, "what was whole is not done again"


def test_all_processes_killed_twice(words, whole, tmp_path):
    out = tmp_path / "out"
    for count in (1, 5):
        process = start([*words, "--workers", "2", "--out", out])
        after_records(out, count, process)
        os.killpg(process.pid, signal.SIGKILL)
        finish(process)
    assert goes_on(words, out, whole) < NUM_ITEMS - 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(words, whole, tmp_path, number):
    out = tmp_path / "out"
    process = start([*words, "--workers", "2", "--out", out])
    after_records(out, 3, process)
    os.killpg(process.pid, number)  # as a terminal does, and SLURM
    code, _, err = finish(process)
    assert code == 128 + number
    assert "interrupted: " in err
    assert f" of {NUM_ITEMS} items done; run the same command to go on" in err
    assert "Traceback" not in err
    done = len(records(out))
    assert done >= 3
    assert not list(out.rglob("*.partial*"))
    assert goes_on(words, out, whole) == NUM_ITEMS - done


def test_ctrl_c_while_the_workers_start_is_one_line(words, tmp_path):
    process = start([*words, "--workers", "2", "--out", tmp_path / "out"])
    wait_for(lambda: workers_of(process), process)
    os.killpg(process.pid, signal.SIGINT)
    code, told, err = finish(process)
    assert (code, told) == (130, "")
    assert err.splitlines() == [f"interrupted: 0 of {NUM_ITEMS} items done; run the same command to go on"]


def test_workers_that_cannot_start_are_an_error(words, tmp_path, monkeypatch):
    """As for want of memory: each is killed before it has opened the model."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'spawn_main' in ' '.join(sys.orig_argv): os.kill(os.getpid(), 9)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    code, told, err = run([*words, "--workers", "1", "--out", tmp_path / "out"])
    assert (code, told) == (1, "")
    assert err.startswith(
        "error: the workers end before they have opened the model, by signal 9: is there memory"
    )
    assert len(err.splitlines()) == 1


def test_an_item_that_kills_its_workers_is_given_up_and_tried_again_by_the_next_run(words, whole, tmp_path):
    out = tmp_path / "out"
    process = start([*words, "--workers", "2", "--retries", "1", "--out", out])
    wait_for(lambda: list((out / "items").glob("b-*.plan.json")), process)
    (plan,) = (out / "items").glob("b-*.plan.json")
    key = plan.name.replace(".plan.json", "-0003")
    killed = kill_holders(out / "items" / f"{key}.lock", process)
    code, _, err = finish(process)
    assert code == 1
    assert len(killed) == 2
    assert "b.mkv: the process that worked on it ended 2 times, by signal 9" in err
    record = json.loads((out / f"items/{key}.json").read_text())
    assert (record["error_kind"], record["sha256"]) == ("run", None)
    assert "2 failed" in err
    assert "table.jsonl" in contents(out)
    assert goes_on(words, out, whole) == 1


def test_two_runs_at_once_do_no_item_twice(words, whole, tmp_path):
    out = tmp_path / "out"
    pair = [start([*words, "--workers", "2", "--out", out]) for _ in range(2)]
    ended = [finish(process) for process in pair]
    assert [code for code, _, _ in ended] == [1, 1], ended
    counts = [done_now(told) for _, told, _ in ended]
    assert sum(counts) == NUM_ITEMS
    assert contents(out) == whole


def test_a_run_takes_over_what_a_killed_one_leaves(words, whole, tmp_path):
    out = tmp_path / "out"
    first = start([*words, "--workers", "1", "--out", out])
    after_records(out, 1, first)
    second = start([*words, "--workers", "1", "--out", out])
    after_records(out, 4, second)
    os.killpg(first.pid, signal.SIGKILL)
    finish(first)
    code, _, err = finish(second)
    assert code == 1, err
    assert contents(out) == whole


def test_shards_together_are_the_whole(words, whole, tmp_path):
    out = tmp_path / "out"
    counts = []
    for shard in ("2/3", "1/3", "3/3"):
        code, told, err = run([*words, "--workers", "1", "--shard", shard, "--out", out])
        counts.append(done_now(told))
        if shard != "3/3":
            assert "of other shards not done yet: the last one writes the table" in told
            assert not (out / "table.jsonl").exists()
    assert code == 1, err
    assert sum(counts) == NUM_ITEMS
    assert min(counts) >= 4
    assert contents(out) == whole
