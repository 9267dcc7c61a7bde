"""The pool of models: time, pixels and processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from functools import partial

import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")
pytest.importorskip("uvicorn", reason="uvicorn is in the extra 'web'")

from page_server import Gated, TwoPeople, encoded, unusable

from ehrpose.web import model_pool
from ehrpose.web.limits import BusyError, Limits
from ehrpose.web.model_pool import ModelPool
from ehrpose.web.worker import ModelFailedError, WorkerLostError


def test_the_pixels_of_all_photos_are_limited(tmp_path):
    gate, record = tmp_path / "gate", tmp_path / "seen"
    limits = Limits(max_pixels=5000, wait_s=0.2)
    pool = ModelPool({"slow": partial(Gated, str(gate), str(record)), "other": TwoPeople}, limits)

    async def both():
        slow = asyncio.create_task(pool.run("slow", "predict", encoded()))
        while not record.exists():
            await asyncio.sleep(0.01)
        with pytest.raises(BusyError, match="other photos take all memory"):
            await pool.run("other", "predict", encoded())
        answer, _ = await pool.run("other", "predict", encoded(shape=(10, 20, 3)))
        assert answer["width"] == 20
        gate.touch()
        await slow
        answer, _ = await pool.run("other", "predict", encoded())
        assert answer["width"] == 80

    try:
        asyncio.run(both())
    finally:
        pool.close()


def test_photos_have_more_time_until_people_were_found_once(monkeypatch):
    given = []

    class Fake:
        is_alive = True

        def __init__(self, *args):
            pass

        def begin(self, task, data):
            return 1, 1

        def finish(self, wanted, seconds):
            given.append(seconds)
            return {"people": [1] if len(given) > 1 else []}, b""

    monkeypatch.setattr(model_pool, "Worker", Fake)
    pool = ModelPool({"two": TwoPeople}, Limits(open_s=180, photo_s=30))
    for _ in range(3):
        asyncio.run(pool.run("two", "predict", b""))
    assert given == [180, 180, 30]


def test_processes_that_cannot_be_killed_are_few(monkeypatch):
    class Unkillable:
        is_alive = True

        def __init__(self, *args):
            pass

        def begin(self, task, data):
            raise WorkerLostError("no answer within 1 s")

        def close(self):
            """Stay."""

    monkeypatch.setattr(model_pool, "Worker", Unkillable)
    pool = ModelPool({"two": TwoPeople})
    for _ in range(model_pool.MAX_STUCK):
        with pytest.raises(BusyError, match="was stopped at this photo"):
            asyncio.run(pool.run("two", "predict", b""))
    assert pool.failing == ["two"]
    with pytest.raises(BusyError, match="rests"), pool.place("two"):
        pass


def test_a_model_that_cannot_be_opened_says_so_in_the_log():
    pool = ModelPool({"broken": unusable})
    with pytest.raises(ModelFailedError, match="these weights are broken"):
        asyncio.run(pool.run("broken", "predict", b""))
    assert not pool.is_open("broken")


def test_closing_the_pool_ends_its_processes():
    pool = ModelPool({"two": TwoPeople})
    asyncio.run(pool.run("two", "predict", encoded()))
    process = pool._entries["two"].worker._process
    pool.close()
    assert process.exitcode is not None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ctrl_c_does_not_reach_a_process_even_the_first_one(root):
    code = """
import multiprocessing, signal, time
from ehrpose.web.worker import without_ctrl_c
if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,), daemon=True)
    with without_ctrl_c():
        process.start()
    status = open(f"/proc/{process.pid}/status").read()
    blocked = next(line for line in status.splitlines() if line.startswith("SigBlk:"))
    process.kill()
    assert int(blocked.split()[1], 16) >> (signal.SIGINT - 1) & 1, blocked
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
