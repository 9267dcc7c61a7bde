"""How long a photo takes with one thread, and with several that spin long, briefly or not at all while they wait.

Each way has a process of its own, as OpenMP reads its settings once. The processes take turns, so that a change of the
machine's load meets all of them; those whose turn it is not are idle.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from ehrpose.threads import SETTINGS, SHORT_SPIN, SPIN_COUNT, WAIT_POLICY

_BUSY = "while True: pass"


class Way(NamedTuple):
    """A number of threads, and what they do while they wait.

    Attributes:
        name: Its name in the table.
        num_threads: Threads of the network.
        settings: Environment variables.
    """

    name: str
    num_threads: int
    settings: dict[str, str]


class Measured(NamedTuple):
    """Medians over the rounds.

    Attributes:
        backend: What runs the network.
        busy: Busy loops beside it.
        others: Cores that other programs used meanwhile, the loops among them; None where that is not known.
        way: How it runs.
        wall_ms: Time per photo.
        cpu_ms: Processor time per photo, of all threads.
        wall_ratio: Median of the rounds' time, divided by that of the first way in the same round.
        cpu_ratio: The same of the processor time.
    """

    backend: str
    busy: int
    others: float | None
    way: Way
    wall_ms: float
    cpu_ms: float
    wall_ratio: float
    cpu_ratio: float


def ways(num_threads: int) -> list[Way]:
    """Return what is compared: spinning as the libraries do, briefly as the commands do, not at all; one thread."""
    brief = {SPIN_COUNT: str(SHORT_SPIN)}
    long = {WAIT_POLICY: "active", SPIN_COUNT: "300000"}  # GNU's own number, and ONNX Runtime's own time
    return [
        Way(f"{num_threads} threads, spinning", num_threads, long),
        Way(f"{num_threads} threads, spinning briefly", num_threads, brief),
        Way(f"{num_threads} threads, sleeping", num_threads, {WAIT_POLICY: "passive"}),
        Way("1 thread", 1, brief),
    ]


def measure(
    model: str, backend: str, num_threads: int = 2, rounds: int = 10, photos: int = 3, busy: int = 0
) -> list[Measured]:
    """Measure all ways in turn.

    Args:
        model: Zoo model or exported file.
        backend: ``"torch"``, ``"onnxruntime"`` or ``"openvino"``.
        num_threads: Threads of the ways with several.
        rounds: Turns of each way.
        photos: Photos in a turn.
        busy: Processes beside it that use a core each.

    Raises:
        ValueError: A process cannot open the model; the message is its last line.
    """
    compared = ways(num_threads)
    found: list[list[_Turn]] = [[] for _ in compared]
    with ExitStack() as stack:
        turns = [stack.enter_context(_Turns(model, backend, way)) for way in compared]
        for turn in turns:  # what is loaded and compiled at the first photos
            turn.take(1)
        for _ in range(busy):
            stack.enter_context(_process([sys.executable, "-c", _BUSY]))
        for _ in range(rounds):
            for turn, times in zip(turns, found, strict=True):
                times.append(turn.take(photos))
    return [_summary(backend, busy, way, times, found[0]) for way, times in zip(compared, found, strict=True)]


def _summary(backend: str, busy: int, way: Way, turns: Sequence[_Turn], first: Sequence[_Turn]) -> Measured:
    others = [turn.others for turn in turns if turn.others is not None]
    pairs = list(zip(turns, first, strict=True))
    return Measured(
        backend,
        busy,
        statistics.median(others) if others else None,
        way,
        1000 * statistics.median(turn.wall for turn in turns),
        1000 * statistics.median(turn.cpu for turn in turns),
        statistics.median(turn.wall / base.wall for turn, base in pairs),
        statistics.median(turn.cpu / base.cpu for turn, base in pairs),
    )


class _Turn(NamedTuple):
    """Seconds and processor seconds of a photo, and the cores that others used."""

    wall: float
    cpu: float
    others: float | None


def table(rows: Sequence[Measured]) -> str:
    """Return the rows as a table; ratios are to the first way."""
    lines = [
        "| backend | busy loops | others, cores | threads | ms | ratio | processor ms | ratio |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.backend} | {row.busy} | {_cores(row.others)} | {row.way.name} | {row.wall_ms:.0f} | "
        f"{row.wall_ratio:.2f} | {row.cpu_ms:.0f} | {row.cpu_ratio:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


def _cores(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}"


class _Turns:
    """A process that waits for its turn; a context manager that ends it."""

    def __init__(self, model: str, backend: str, way: Way):
        self._command = [
            sys.executable,
            "-m",
            "ehrpose.analysis.speed.thread_benchmark",
            model,
            backend,
            str(way.num_threads),
        ]
        kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        self._env = {**kept, **way.settings}

    def __enter__(self) -> _Turns:
        self._stack = ExitStack()
        self._process = self._stack.enter_context(_process(self._command, self._env))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def take(self, photos: int) -> _Turn:
        """Find the people of so many photos."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        start, busy = time.perf_counter(), busy_seconds()
        try:
            self._process.stdin.write(f"{photos}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its last line says why it ended
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            last = (errors.strip().splitlines() or ["the process ended"])[-1]
            raise ValueError(last.split("Error: ", 1)[-1])
        wall, cpu = map(float, line.split())
        seconds, others = time.perf_counter() - start, None
        if busy is not None:
            others = max(0.0, (busy_seconds() or busy) - busy - cpu * photos) / seconds
        return _Turn(wall, cpu, others)


def busy_seconds() -> float | None:
    """Return how long the machine's cores have worked since its start, summed up; None where it is not counted."""
    try:
        words = Path("/proc/stat").read_text(encoding="ascii").split(maxsplit=9)[1:9]
        user, nice, system, _, _, irq, soft_irq, steal = map(int, words)
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + soft_irq + steal) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _process(command: list[str], env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _serve(model: str, backend: str, num_threads: int) -> None:
    """Find people in as many drawn photos as each line of stdin says; runs in the process of a way."""
    import numpy as np

    from ehrpose.datasets.synthetic.scene import render_scene
    from ehrpose.inferencers.predictors import open_predictor

    predictor = open_predictor(model, backend=backend, num_threads=num_threads)
    photo, _ = render_scene(np.random.default_rng(0), (640, 480), (3, 3))
    for line in sys.stdin:
        photos = int(line)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(photos):
            predictor.predict([photo])
        print((time.perf_counter() - wall) / photos, (time.process_time() - cpu) / photos, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
