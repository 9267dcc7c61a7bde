from __future__ import annotations

import re
import sys

import pytest

from ehrpose import progress
from ehrpose.progress import Progress, Rate


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch, capfd):
    """A terminal; call it for its new text, without colours and cursor movements."""
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then treats any output as a terminal
    monkeypatch.setenv("COLUMNS", "120")
    return lambda: re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", capfd.readouterr().err)


def test_rate_is_that_of_the_last_frames(clock):
    rate = Rate(window=4)
    assert rate.step() == 0
    for _ in range(10):
        clock[0] += 1.0
        rate.step()
    for _ in range(4):
        clock[0] += 0.1
        last = rate.step()
    assert last == pytest.approx(10)


def test_without_rich_there_is_no_bar_and_no_error(monkeypatch, terminal):
    monkeypatch.setitem(sys.modules, "rich", None)
    with Progress(10, "[photos]") as bar:
        assert not bar.is_shown
        bar.step(5)
        bar.show(7, note="here")
    assert terminal() == ""


def test_a_terminal_gets_a_bar_with_count_rate_and_note(clock, terminal):
    with Progress(10, "[photos]") as bar:
        assert bar.is_shown
        clock[0] += 2
        bar.step(3)
        bar.show(4, note="loss [0.5]")
        bar.print("a line [between]")
    shown = terminal()
    for part in ("[photos]", "4/10", "2.0/s", "loss [0.5]", "a line [between]"):
        assert part in shown
    assert not bar.is_shown
    bar.step()
    bar.end()
    assert terminal() == ""


def test_what_was_done_before_does_not_count_for_the_rate(clock, terminal):
    with Progress(1000, done=900) as bar:
        clock[0] += 2
        bar.show(904)
    shown = terminal()
    assert "904/1000" in shown
    assert "2.0/s" in shown


def test_bytes_and_unknown_totals(terminal):
    with Progress(20_000_000, "val2017.zip", "bytes") as bar:
        bar.show(5_000_000, 20_000_000)
    assert "5.0/20.0 MB" in terminal()
    with Progress(None) as bar:
        bar.step(3)
    assert "3/?" in terminal()


def test_without_a_terminal_there_is_only_what_is_printed(capfd, monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    with Progress(10, "photos") as bar:
        bar.step(10)
        assert not bar.is_shown
        bar.print("done [all]")
    assert bar.done == 10
    assert capfd.readouterr() == ("", "done [all]\n")


def test_an_error_ends_the_bar(terminal):
    with pytest.raises(ValueError, match="broken"), Progress(2) as bar:
        raise ValueError("broken")
    assert not bar.is_shown
