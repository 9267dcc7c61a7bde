"""From the command to the people of one photo: seconds, peak memory and the size of the environment."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ehrpose.files import temporary_folder

_SIZE = "import json, sysconfig; paths = sysconfig.get_paths(); print(json.dumps([paths['purelib'], paths['platlib']]))"


class Start(NamedTuple):
    """A way to find the people of a photo.

    Attributes:
        name: Its name in the table.
        python: The interpreter, of the environment that is used.
        options: Further words of ``ehrpose predict``.
    """

    name: str
    python: str
    options: tuple[str, ...] = ()


class Measured(NamedTuple):
    """Medians over the rounds.

    Attributes:
        start: What was started.
        seconds: From the command to its end, with picture and json written.
        peak_mb: Largest resident memory of the process, MB.
        environment_mb: Installed packages, MB.
    """

    start: Start
    seconds: float
    peak_mb: float
    environment_mb: float


def measure(photo: str | Path, starts: Sequence[Start], rounds: int = 10) -> list[Measured]:
    """Run each start in turn, ``rounds`` times after one that does not count.

    Raises:
        FileNotFoundError: The photo or an interpreter does not exist.
        ValueError: A run fails; the message has its last line.
    """
    if not Path(photo).is_file():
        raise FileNotFoundError(f"photo not found: {photo}")
    times: dict[Start, list[tuple[float, float]]] = {start: [] for start in starts}
    with temporary_folder() as folder:
        for number in range(rounds + 1):
            for start in starts:
                found = _run(start, Path(photo).resolve(), folder)
                if number:
                    times[start].append(found)
    return [
        Measured(
            start,
            statistics.median(seconds for seconds, _ in found),
            statistics.median(peak for _, peak in found),
            environment_mb(start.python),
        )
        for start, found in times.items()
    ]


def environment_mb(python: str) -> float:
    """Return the size of the packages that an interpreter has, MB."""
    done = subprocess.run([python, "-c", _SIZE], capture_output=True, text=True, check=True)
    folders = set(json.loads(done.stdout))
    files = (path for folder in folders for path in Path(folder).rglob("*"))
    return sum(path.stat().st_size for path in files if path.is_file() and not path.is_symlink()) / 1e6


def table(rows: Sequence[Measured]) -> str:
    """Return the measurements as a Markdown table, with ratios to the first."""
    first = rows[0]
    lines = [
        "| from command to json | seconds | peak memory, MB | environment, MB |",
        "|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            f"{value:.{digits}f} ({value / base:.2f})"
            for value, base, digits in (
                (row.seconds, first.seconds, 2),
                (row.peak_mb, first.peak_mb, 0),
                (row.environment_mb, first.environment_mb, 0),
            )
        ]
        lines.append(f"| {row.start.name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def own_starts(bare: str | None) -> list[Start]:
    """Return torch and the default of this environment and, if its interpreter is given, the default of another."""
    starts = [
        Start("torch", sys.executable, ("--backend", "torch")),
        Start("without torch, same environment", sys.executable, ("--device", "cpu")),
    ]
    return starts + ([] if bare is None else [Start("without torch, its own environment", bare)])


def _run(start: Start, photo: Path, folder: Path) -> tuple[float, float]:
    """Return seconds and peak memory, MB, of one run."""
    words = [
        start.python,
        "-m",
        "ehrpose",
        "predict",
        str(photo),
        "--out-dir",
        str(folder / "out"),
        *start.options,
    ]
    before = time.perf_counter()
    with open(folder / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, cwd=folder)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        last = (folder / "log").read_text(encoding="utf-8").strip().splitlines() or ["no output"]
        raise ValueError(f"{start.name}: {last[-1]}")
    scale = 1e6 if sys.platform == "darwin" else 1e3  # bytes there, kB elsewhere
    return seconds, usage.ru_maxrss / scale
