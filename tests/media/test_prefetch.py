from __future__ import annotations

import threading
import time

import pytest

from ehrpose.media import prefetch


def test_gives_the_same_items_in_order():
    assert list(prefetch(range(100), size=3)) == list(range(100))


def test_reads_no_further_ahead_than_allowed():
    drawn = []

    def items():
        for i in range(100):
            drawn.append(i)
            yield i

    ahead = prefetch(items(), size=3)
    next(ahead)
    time.sleep(0.3)
    assert len(drawn) <= 1 + 3 + 1
    ahead.close()


def test_an_error_of_the_source_is_raised_after_the_items_before_it():
    def items():
        yield 1
        raise OSError("the disk is gone")

    ahead = prefetch(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(ahead)


def test_closing_ends_the_thread():
    before = set(threading.enumerate())
    ahead = prefetch(iter(int, 1), size=2)
    next(ahead)
    ahead.close()
    assert set(threading.enumerate()) <= before


def test_the_newest_does_not_let_the_source_wait():
    drawn, go_on = threading.Event(), threading.Event()

    def items():
        yield 0
        go_on.wait(60)
        yield from range(1, 20)
        drawn.set()
        yield 20

    ahead = prefetch(items(), size=1, newest=True)
    assert next(ahead) == 0
    go_on.set()
    assert drawn.wait(60)
    rest = list(ahead)
    assert rest[-1] in (19, 20)
    assert len(rest) <= 3
