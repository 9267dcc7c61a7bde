"""Steps that take ten times as long as before: when that is said, and what is named as the cause."""

from __future__ import annotations

import pytest

from ehrpose.slow_steps import SlowSteps


class Machine:
    """A clock, a load and a container that tests set."""

    def __init__(self, load=0.5, throttled=None, on_cpu=True):
        self.now = self.cpu = 0.0
        self.load, self.throttled = load, throttled
        self.steps = SlowSteps(
            "steps", lambda: self.now, lambda: self.cpu, lambda: self.load, lambda: self.throttled, 2, on_cpu
        )

    def step(self, worked, waited=0.0, cpu=None, throttled=0.0):
        """Return what is said at a step that waits and works so many seconds."""
        self.now += waited
        self.steps.begin()
        self.now += worked
        self.cpu += worked if cpu is None else cpu
        if self.throttled is not None:
            self.throttled += throttled
        return self.steps.end()

    def usual(self, count=20, worked=0.2):
        assert [self.step(worked) for _ in range(count)] == [None] * count


def test_the_second_slow_step_in_a_row_is_told_once_with_other_programs_as_the_cause(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    machine = Machine()
    machine.usual()
    machine.load = 11.4
    assert machine.step(2.5) is None
    assert machine.step(2.5) == (
        "steps take 12 times as long as before, 2.5 s and not 0.2 s: other programs want the processor (load average "
        "11.4 on 2 cores): end them or wait"
    )
    assert [machine.step(2.5) for _ in range(10)] == [None] * 10


def test_spinning_threads_are_advised_to_sleep(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.delenv(name, raising=False)
    machine = Machine(load=11.4)
    machine.usual()
    machine.step(2.5)
    assert machine.step(2.5).endswith("end them or wait, or start with OMP_WAIT_POLICY=passive")


def test_nine_times_is_not_ten_and_short_steps_are_slow_for_no_one():
    machine = Machine(load=9)
    machine.usual()
    assert [machine.step(1.9) for _ in range(5)] == [None] * 5
    machine = Machine(load=9)
    machine.usual(worked=0.001)
    assert [machine.step(0.04) for _ in range(5)] == [None] * 5


def test_a_laptop_that_was_suspended_is_no_news():
    machine = Machine(load=0.1)
    machine.usual()
    assert machine.step(3600, cpu=0.2) is None
    machine.usual(3)
    assert machine.step(0.2, waited=3600) is None
    machine.usual(3)


def test_the_first_steps_may_take_long():
    machine = Machine(load=0.5)
    assert [machine.step(seconds) for seconds in (30, 20, 0.2, 0.2, 0.2, 0.2)] == [None] * 6
    assert machine.step(3) is None


def test_steps_that_starve_from_the_start_are_told():
    machine = Machine(load=12)
    assert machine.step(4, cpu=0.3) is None
    assert machine.step(4, cpu=0.3).startswith(
        "steps take 4 s, of which the processor works 0.3 s: other programs want the processor"
    )
    for machine in (
        Machine(load=12, on_cpu=False),
        Machine(load=1),
    ):  # a GPU works, or something else is awaited
        assert [machine.step(4, cpu=0.3) for _ in range(4)] == [None] * 4


def test_waiting_for_data_is_told_apart():
    machine = Machine(load=0.5)
    machine.usual()
    machine.step(0.2, waited=3)
    line = machine.step(0.2, waited=3)
    assert "16 times" in line
    assert "they wait for data: look at the disk or network, or raise num_workers (load average 0.5" in line


@pytest.mark.parametrize("seconds", [60, 600])
def test_a_validation_or_a_checkpoint_is_no_waiting(seconds):
    machine = Machine(load=9)
    machine.usual()
    for _ in range(5):
        machine.steps.pause()
        assert machine.step(0.2, waited=seconds) is None


def test_a_container_that_is_held_back_is_named(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")
    machine = Machine(load=30, throttled=5.0)
    machine.usual()
    machine.step(3, throttled=2)
    assert machine.step(3, throttled=2).endswith(
        "the container was held back, its share is 2 cores: raise its limit"
    )


def test_without_a_busy_processor_other_causes_are_named():
    machine = Machine(load=0.5)
    machine.usual()
    machine.step(3)
    assert (
        "the processor is not the reason (load average 0.5 on 2 cores): see whether memory" in machine.step(3)
    )
    machine = Machine(load=None)
    machine.usual()
    machine.step(3)
    assert "before, 3 s and not 0.2 s: see whether memory is short" in machine.step(3)


def test_after_ten_minutes_it_is_told_again():
    machine = Machine(load=9)
    machine.usual(50)
    said = [machine.step(20) for _ in range(25)]
    assert [number for number, line in enumerate(said) if line] == [1]
    machine.usual(50)
    machine.now += 600
    machine.steps.pause()
    assert machine.step(20) is None
    assert machine.step(20) is not None


def test_what_lasts_becomes_the_usual():
    machine = Machine(load=9)
    machine.usual(50)
    for _ in range(30):
        machine.step(20)
    machine.now += 600
    machine.steps.pause()
    assert [machine.step(20) for _ in range(5)] == [None] * 5
