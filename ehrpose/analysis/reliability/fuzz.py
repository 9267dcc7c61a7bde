"""Damaged and generated input for everything that reads files of others; bounded, seeded, nothing kept.

Each area runs in a process of its own that reports every case, so a crash, a hang or a loss of memory is a fault of one
case and the next ones still run. A case follows from area, seed and number alone.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ehrpose.analysis.reliability.mutation import Outcome
from ehrpose.analysis.reliability.results import Result
from ehrpose.counted import counted
from ehrpose.progress import Progress

# Area: module and class, whose object has ``check(index)``. Loaded in the process of the area.
AREAS = {
    "photos": "ehrpose.analysis.reliability.photos:Photos",
    "labels": "ehrpose.analysis.reliability.documents:Labels",
    "sidecars": "ehrpose.analysis.reliability.documents:Sidecars",
    "checkpoints": "ehrpose.analysis.reliability.weights:Checkpoints",
    "options": "ehrpose.analysis.reliability.documents:ConfigOptions",
    "codec": "ehrpose.analysis.reliability.fuzz:CodecMaps",
}
# A case that takes longer is a fault; until the first one, libraries are loaded and loops compiled.
CASE_S, START_S = 30.0, 300.0
# Address space of an area's process: what takes more ends in MemoryError, not in a machine out of memory.
ADDRESS_SPACE = 8 << 30
# An area is given up after so many processes.
MAX_PROCESSES = 20
_RUN = "import sys; from ehrpose.analysis.reliability.fuzz import work; work(*sys.argv[1:])"


class CodecMaps:
    """Generated maps, decoded in both forms; a case is a batch of ``each`` maps."""

    def __init__(self, seed: int, folder: Path):
        from ehrpose.analysis.codec import codec_fuzz

        self.seed, self.fuzz, self.each = seed, codec_fuzz, codec_fuzz.BATCH
        self.codecs = codec_fuzz.make_codecs(seed)
        try:
            with codec_fuzz.form(compiled=True):  # compile or load the loops
                for index in range(codec_fuzz.BATCH):
                    codec_fuzz.outcome_of(codec_fuzz.make_case(self.codecs, seed, index))
        except ValueError as error:  # numba is not installed
            raise ModuleNotFoundError(str(error)) from error

    def check(self, index: int) -> Outcome:
        """Decode maps ``index * BATCH`` to ``(index + 1) * BATCH - 1`` of ``make fuzz-codec``."""
        findings = self.fuzz.Findings()
        numbers = range(index * self.each, (index + 1) * self.each)
        self.fuzz.compare({n: self.fuzz.make_case(self.codecs, self.seed, n) for n in numbers}, findings)
        slow = [f"{counted(findings.slow, 'decode')} over 50 ms"] if findings.slow else []
        return Outcome("read", "; ".join(findings.faults[:3] + slow))


@dataclass
class _Report:
    """What an area's processes have reported so far."""

    kinds: Counter = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    lost: Counter = field(default_factory=Counter)
    cases: int = 0
    megabytes: float = 0.0
    slowest: float = 0.0
    skipped: str = ""
    each: int = 1

    def add(self, index: int, outcome: Outcome, seconds: float) -> None:
        self.cases += self.each
        self.kinds[outcome.kind] += self.each
        self.megabytes = max(self.megabytes, outcome.megabytes)
        self.slowest = max(self.slowest, seconds)
        if outcome.fault:
            self.faults.append(f"case {index}: {outcome.fault}")

    def stop(self, index: int, reason: str) -> None:
        """Add a case that ended or held its process."""
        self.add(index, Outcome(reason, reason), 0.0)
        self.lost["process", "processes"] += 1

    def result(self, area: str, seconds: float) -> Result:
        lost = ", ".join(counted(number, *words) for words, number in self.lost.items()) or "nothing"
        kinds = ", ".join(f"{number:,} {kind}" for kind, number in sorted(self.kinds.items()))
        notes = [f"skipped: {self.skipped}"] if self.skipped else [f"{kinds}; slowest {self.slowest:.2f} s"]
        if self.megabytes:
            notes[0] += f"; most memory {self.megabytes:.0f} MB"
        return Result(area, self.cases, seconds, self.faults, lost, notes)


def fuzz(areas: Sequence[str], cases: int, seconds: float, seed: int = 0, start: int = 0) -> list[Result]:
    """Try areas one after the other.

    Args:
        areas: Names in AREAS.
        cases: Most cases of each area.
        seconds: Most time of all areas together; they get equal shares, not counting the start of a process.
        seed: Seed of the cases.
        start: Number of the first case.
    """
    results, left = [], seconds
    with Progress(len(areas), "fuzz") as progress:
        for place, area in enumerate(areas):
            result = fuzz_area(area, cases, left / (len(areas) - place), seed, start)
            left = max(1.0, left - result.seconds)
            results.append(result)
            progress.step()
    return results


def fuzz_area(area: str, cases: int, seconds: float, seed: int = 0, start: int = 0) -> Result:
    """Try one area, see ``fuzz``.

    Raises:
        ValueError: Its process does not start.
    """
    report, index, taken, processes = _Report(), start, 0.0, 0
    while index < start + cases and taken < seconds and processes < MAX_PROCESSES:
        processes += 1
        with _worker(AREAS[area], seed, index, start + cases) as worker:
            if not _is_ready(worker, area, report):
                break
            began = time.monotonic()
            index = _listen(worker, report, index, seconds - taken)
            taken += time.monotonic() - began
    if processes == MAX_PROCESSES and index < start + cases:
        report.faults.append(f"given up after {MAX_PROCESSES} processes")
    return report.result(area, taken)


@dataclass
class _Worker:
    """An area's process, and the lines that it has printed; None marks their end."""

    process: subprocess.Popen
    lines: queue.SimpleQueue
    errors: Any

    def next(self, seconds: float) -> Any:
        """Return the next line as JSON, None at the end; raise queue.Empty after ``seconds``."""
        line = self.lines.get(timeout=seconds)
        return None if line is None else json.loads(line)

    def last_error(self) -> str:
        """Return the last line on stderr."""
        self.errors.seek(0)
        lines = self.errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no message"


@contextmanager
def _worker(path: str, seed: int, start: int, stop: int) -> Iterator[_Worker]:
    command = [sys.executable, "-c", _RUN, path, str(seed), str(start), str(stop)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "SILENT"}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=env, text=True)
        lines: queue.SimpleQueue = queue.SimpleQueue()

        def read() -> None:
            for line in process.stdout or ():
                if line.endswith("\n"):
                    lines.put(line)
            lines.put(None)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        try:
            yield _Worker(process, lines, errors)
        finally:
            process.kill()
            process.wait()
            reader.join()
            if process.stdout:
                process.stdout.close()


def _is_ready(worker: _Worker, area: str, report: _Report) -> bool:
    """Wait for a process to load; return False if the area cannot run here."""
    with suppress(queue.Empty):
        message = worker.next(START_S)
        if message is not None:
            report.skipped, report.each = message.get("skip", ""), message.get("each", 1)
            return not report.skipped
    raise ValueError(f"the process that tries {area} did not start: {worker.last_error()}")


def _listen(worker: _Worker, report: _Report, index: int, seconds: float) -> int:
    """Add what a process reports until it ends or the time is over; return the number of the next case."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        try:
            message = worker.next(CASE_S)
        except queue.Empty:
            report.stop(index, f"no end after {CASE_S:.0f} s")
            return index + 1
        if message is None:
            code = worker.process.wait()
            if code == 0:
                return sys.maxsize
            how = signal.Signals(-code).name if code < 0 else f"exit code {code} ({worker.last_error()})"
            report.stop(index, f"the process ended with {how}")
            return index + 1
        index = message.pop("index")
        report.add(index, Outcome(**message), time.monotonic() - began)
        index += 1
    return index


def work(path: str, seed: str, start: str, stop: str) -> None:
    """Run cases of one area and print a JSON line for each. The process of ``fuzz_area``."""
    from ehrpose.files import temporary_folder

    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not a report
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    module, name = path.split(":")
    with temporary_folder() as folder:
        try:
            area = getattr(importlib.import_module(module), name)(int(seed), folder)
        except ModuleNotFoundError as error:
            print(json.dumps({"skip": str(error)}), file=out, flush=True)
            return
        print(json.dumps({"each": getattr(area, "each", 1)}), file=out, flush=True)
        for index in range(int(start), int(stop)):
            print(json.dumps({"index": index, **asdict(area.check(index))}), file=out, flush=True)
