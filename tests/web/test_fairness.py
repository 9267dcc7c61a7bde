from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

pytest.importorskip("starlette", reason="starlette is in the extra 'web'")

from ehrpose.web.fairness import FairLock, Places
from ehrpose.web.limits import Budget, BusyError


def turns(asked, cancelled=()):
    """Return who gets the lock in which order: clients ask in the order of ``asked``, some stop waiting."""
    got = []

    async def work(lock, client, number):
        await lock.acquire(client)
        got.append((client, number))
        await asyncio.sleep(0)
        lock.release()

    async def run():
        lock = FairLock()
        await lock.acquire("first")
        tasks = []
        for number, client in enumerate(asked):
            tasks.append(asyncio.create_task(work(lock, client, number)))
            await asyncio.sleep(0)
        for number in cancelled:
            tasks[number].cancel()
        await asyncio.sleep(0)
        lock.release()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not lock.locked()
        async with lock:
            assert lock.locked()

    asyncio.run(run())
    return got


def test_clients_take_turns_and_each_client_s_photos_keep_their_order():
    assert turns("aaaabbc") == [("a", 0), ("b", 4), ("c", 6), ("a", 1), ("b", 5), ("a", 2), ("a", 3)]


def test_one_client_alone_is_served_in_order():
    assert turns("aaa") == [("a", 0), ("a", 1), ("a", 2)]


def test_who_stops_waiting_is_left_out():
    assert turns("aabb", cancelled=[0, 2]) == [("a", 1), ("b", 3)]
    assert turns("ab", cancelled=[0, 1]) == []


def test_a_turn_that_comes_while_its_owner_goes_is_passed_on():
    async def run():
        lock = FairLock()
        await lock.acquire()
        going, waiting = (asyncio.create_task(lock.acquire(client)) for client in "ab")
        await asyncio.sleep(0)
        lock.release()  # the turn of "a"
        going.cancel()
        await asyncio.wait_for(waiting, 10)
        lock.release()
        assert not lock.locked()

    asyncio.run(run())


def test_a_client_cannot_fill_the_queue():
    places = Places(3, "two")
    with ExitStack() as greedy:
        for _ in range(3):
            greedy.enter_context(places.take("greedy"))
        with pytest.raises(BusyError, match="2 photos are already waiting for two"), places.take("greedy"):
            pass
        with places.take("other"), places.take("third"):
            assert len(places) == 5
            with pytest.raises(BusyError), places.take("other"):
                pass
            with places.take("fourth"), pytest.raises(BusyError), places.take("fifth"):
                pass
    assert len(places) == 0


def test_a_client_cannot_hold_all_bytes():
    budget = Budget(40, "uploads", extra=20)
    with budget.take(20, "greedy"), budget.take(20, "greedy"):
        with pytest.raises(BusyError, match="many uploads"), budget.take(1, "greedy"):
            pass
        with budget.take(20, "other"), pytest.raises(BusyError), budget.take(1, "other"):
            pass
    assert budget.used == 0
