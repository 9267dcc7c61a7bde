"""How long a photo takes with one thread, with threads that spin while they wait, and with threads that sleep.

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
from typing import NamedTuple

from ehrpose.threads import SETTINGS

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
        way: How it runs.
        wall_ms: Time per photo.
        cpu_ms: Processor time per photo, of all threads.
        wall_ratio: Median of the rounds' time, divided by that of the first way in the same round.
        cpu_ratio: The same of the processor time.
    """

    backend: str
    busy: int
    way: Way
    wall_ms: float
    cpu_ms: float
    wall_ratio: float
    cpu_ratio: float


def ways(num_threads: int) -> list[Way]:
    """Return what is compared: spinning, sleeping, one thread."""
    return [
        Way(f"{num_threads} threads, spinning", num_threads, {}),
        Way(f"{num_threads} threads, sleeping", num_threads, {"OMP_WAIT_POLICY": "passive"}),
        Way("1 thread", 1, {"OMP_WAIT_POLICY": "passive"}),
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
    found: list[list[tuple[float, float]]] = [[] for _ in compared]
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


def _summary(
    backend: str, busy: int, way: Way, times: list[tuple[float, float]], first: list[tuple[float, float]]
) -> Measured:
    walls, cpus = zip(*times, strict=True)
    ratios = [(wall / w, cpu / c) for (wall, cpu), (w, c) in zip(times, first, strict=True)]
    return Measured(
        backend,
        busy,
        way,
        1000 * statistics.median(walls),
        1000 * statistics.median(cpus),
        statistics.median(wall for wall, _ in ratios),
        statistics.median(cpu for _, cpu in ratios),
    )


def table(rows: Sequence[Measured]) -> str:
    """Return the rows as a table; ratios are to the first way."""
    lines = [
        "| backend | busy loops | threads | ms | ratio | processor ms | ratio |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.backend} | {row.busy} | {row.way.name} | {row.wall_ms:.0f} | {row.wall_ratio:.2f} | "
        f"{row.cpu_ms:.0f} | {row.cpu_ratio:.2f} |"
        for row in rows
    ]
    return "\n".join(lines)


class _Turns:
    """A process that waits for its turn; a context manager that ends it."""

    def __init__(self, model: str, backend: str, way: Way):
        self._command = [sys.executable, "-m", __name__, model, backend, str(way.num_threads)]
        kept = {name: value for name, value in os.environ.items() if name not in SETTINGS}
        self._env = {**kept, **way.settings}

    def __enter__(self) -> _Turns:
        self._stack = ExitStack()
        self._process = self._stack.enter_context(_process(self._command, self._env))
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def take(self, photos: int) -> tuple[float, float]:
        """Return the seconds and the processor seconds of a photo."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{photos}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its last line says why it ended
        line = self._process.stdout.readline()
        if not line:
            _, errors = self._process.communicate()
            raise ValueError((errors or "").strip().splitlines()[-1] if errors else "the process ended")
        wall, cpu = map(float, line.split())
        return wall, cpu


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
