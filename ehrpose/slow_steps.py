"""Notices when the steps of a training or a video take ten times as long as before, and says why, in one line."""

from __future__ import annotations

import statistics
import sys
import time
from collections import deque
from typing import Any, Callable, Deque, Optional

from ehrpose.counted import counted
from ehrpose.cpu import available_cores, throttled_seconds
from ehrpose.threads import WAIT_POLICY, load_average, spins_long

# How many times longer than the median of the earlier steps, and how many steps in a row: a laptop that was suspended,
# a stopped process, a collection of garbage or a code that is compiled makes one step slow, and nothing is to be done.
FACTOR, IN_A_ROW = 10.0, 2
# Steps before the first verdict, and those that the median is of.
_FIRST, _KEPT = 5, 50
# Seconds between two lines.
_EVERY = 600.0
# Shorter steps are slow for no one.
_LEAST_S = 0.05


class SlowSteps:
    """Times steps and returns a line about those that are slow.

    Each step is its work, and the wait for its data before. A step's time is compared with the median of the 50 steps
    before it. The first five are compared with their processor time instead, while the load average is more than twice
    the cores.

    Args:
        what: Plural of what a step is called, ``"steps"`` or ``"frames"``.
        clock: Time in seconds.
        cpu_clock: Processor time of this process in seconds.
        load: Load average; None: unknown.
        throttled: Seconds that the container was held back; None: unknown.
        cores: Cores that this process may use.
        on_cpu: Whether the processor does the work, and not a GPU for which it may wait.
    """

    def __init__(
        self,
        what: str = "steps",
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.process_time,
        load: Callable[[], Optional[float]] = load_average,
        throttled: Callable[[], Optional[float]] = throttled_seconds,
        cores: Optional[int] = None,
        on_cpu: bool = True,
    ):
        self.what, self._clock, self._cpu_clock = what, clock, cpu_clock
        self._load, self._throttled, self._on_cpu = load, throttled, on_cpu
        self._cores = available_cores() if cores is None else cores
        self._times: Deque[float] = deque(maxlen=_KEPT)
        self._slow = 0
        self._said: Optional[float] = None
        self._ended: Optional[float] = None
        self._begun = self._cpu_begun = self._waited = 0.0
        self._held_back: Optional[float] = None

    def pause(self) -> None:
        """Do not count the time until the next step as waiting: something else is done, such as a validation."""
        self._ended = None

    def begin(self) -> None:
        """Begin a step; its data are there."""
        self._begun, self._cpu_begun = self._clock(), self._cpu_clock()
        self._waited = 0.0 if self._ended is None else self._begun - self._ended

    def end(self) -> Optional[str]:
        """End the step; return a line about it if this and the one before were slow, at most one in ten minutes."""
        now, cpu = self._clock(), self._cpu_clock() - self._cpu_begun
        self._ended, worked = now, now - self._begun
        seconds = worked + self._waited
        usual = statistics.median(self._times) if len(self._times) >= _FIRST else None
        self._times.append(seconds)
        held_back, self._held_back = self._held_back, None
        is_slow = seconds >= _LEAST_S and (
            seconds >= FACTOR * usual if usual is not None else self._is_starved(worked, cpu)
        )
        self._slow = self._slow + 1 if is_slow else 0
        if not is_slow:
            return None
        self._held_back = self._throttled()
        if self._slow < IN_A_ROW or (self._said is not None and now - self._said < _EVERY):
            return None
        self._said = now
        before = None if held_back is None or self._held_back is None else self._held_back - held_back
        return f"{self._compared(seconds, cpu, usual)}: {self._cause(worked, before)}"

    def _is_starved(self, worked: float, cpu: float) -> bool:
        """Whether work took ten times its processor time because others have the cores."""
        load = self._load()
        return (
            self._on_cpu and load is not None and load > 2 * self._cores and worked >= FACTOR * max(cpu, 1e-3)
        )

    def _compared(self, seconds: float, cpu: float, usual: Optional[float]) -> str:
        if usual is None:
            return f"{self.what} take {seconds:.2g} s, of which the processor works {cpu:.2g} s"
        times = seconds / max(usual, 1e-6)
        return f"{self.what} take {times:.0f} times as long as before, {seconds:.2g} s and not {usual:.2g} s"

    def _cause(self, worked: float, held_back: Optional[float]) -> str:
        load, cores = self._load(), counted(self._cores, "core")
        sleep = f", or start with {WAIT_POLICY}=passive" if spins_long() else ""
        if self._waited > worked:
            busy = f" (load average {load:.1f} on {cores})" if load is not None else ""
            return f"they wait for data: look at the disk or network, or raise num_workers{busy}"
        if held_back is not None and held_back > 0.2 * worked:
            return f"the container was held back, its share is {cores}: raise its limit{sleep}"
        if load is not None and load > 2 * self._cores:
            return f"other programs want the processor (load average {load:.1f} on {cores}): end them or wait{sleep}"
        known = (
            "" if load is None else f"the processor is not the reason (load average {load:.1f} on {cores}): "
        )
        return f"{known}see whether memory is short, the machine is hot, or the GPU is shared"


def watched(work: Callable[[Any], Any], what: str) -> Any:
    """Return ``work`` as a function that says on stderr if its steps become slow; see ``SlowSteps``.

    Args:
        work: Does a step.
        what: The steps, as in ``SlowSteps``.
    """
    steps = SlowSteps(what)

    def step(given: Any) -> Any:
        steps.pause()  # waiting for a camera, or for the caller
        steps.begin()
        done = work(given)
        line = steps.end()
        if line is not None:
            print(line, file=sys.stderr)
        return done

    return step
