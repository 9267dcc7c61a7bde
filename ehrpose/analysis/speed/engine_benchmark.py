"""Exported files of several engines side by side in one run: time, size, memory and AP (no torch)."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import numpy as np

from ehrpose.analysis.speed.exported_ap import evaluate_runtime
from ehrpose.analysis.speed.memory_probe import peak_memory
from ehrpose.backend_table import BACKEND_TABLE
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import Sidecar
from ehrpose.image_io import read_image

_MIB = 2**20


@dataclass
class EngineRow:
    """What was measured of one file.

    Attributes:
        path: The file.
        engine: Title of the engine.
        precision: As it really computes.
        output: ``"maps"`` or ``"candidates"``.
        network_s: Processor time of each run of the network, s.
        network_wall_s: Wall time of the same, s.
        people_s: Wall time of each photo, from pixels to people, s.
        file_mib: Size of the network's files, MiB.
        install_mib: Size of the engine's packages, without what they require, MiB; None: not installed by pip.
        peak_mib: Peak memory of a process that runs this file alone, MiB.
        ap: AP on the labelled photos; None: not measured.
    """

    path: Path
    engine: str
    precision: str
    output: str
    file_mib: float
    install_mib: float | None
    network_s: list[float] = field(default_factory=list)
    network_wall_s: list[float] = field(default_factory=list)
    people_s: list[float] = field(default_factory=list)
    peak_mib: float | None = None
    ap: float | None = None


def compare_engines(
    paths: Sequence[str | Path],
    photos: Sequence[str | Path],
    rounds: int = 20,
    num_threads: int = 1,
    memory: bool = False,
    labels: tuple[str, str] | None = None,
    trust_pt2: bool = False,
) -> list[EngineRow]:
    """Time exported files in turns.

    Args:
        paths: Exported files, with their sidecars.
        photos: Photos; round ``i`` takes the next one, the same for all files.
        rounds: Runs of each file.
        num_threads: CPU threads.
        memory: Measure the peak memory of each file in a process of its own.
        labels: COCO keypoint json and the folder of its photos, to measure AP on.
        trust_pt2: Open ``.pt2`` files, which may run any code in them.

    Raises:
        DeployError: A file cannot be opened, or its engine is not installed.
        ImageReadError: A photo cannot be read.
        ValueError: There are no photos or no rounds.
    """
    if not photos or rounds < 1:
        raise ValueError(f"expected photos and at least one round, got {len(photos)} photos, {rounds} rounds")
    runtimes = [PoseRuntime(path, num_threads=num_threads, trust_pt2=trust_pt2) for path in paths]
    rows = [_row(Path(path), runtime) for path, runtime in zip(paths, runtimes)]
    pixels = [read_image(photo) for photo in photos[:rounds]]
    for turn in range(rounds + 1):  # the first is for warming up
        photo = pixels[turn % len(pixels)]
        for runtime, row in zip(runtimes, rows):
            if turn == 0:
                for one in pixels:  # sizes that come first are compiled
                    runtime.predict([one])
                continue
            _time(runtime, photo, row)
    for runtime, row in zip(runtimes, rows):
        if labels is not None:
            row.ap = evaluate_runtime(runtime, *labels)["coco/AP"]
        runtime.close()
        if memory:
            job = {"photo": str(photos[0]), "threads": num_threads, "path": str(row.path), "options": {}}
            row.peak_mib = peak_memory(job)
    return rows


def _time(runtime: PoseRuntime, photo: np.ndarray, row: EngineRow) -> None:
    batch = runtime.prepare(photo)[0][None]
    start, wall = time.process_time(), time.perf_counter()
    runtime.run(batch)
    row.network_s.append(time.process_time() - start)
    row.network_wall_s.append(time.perf_counter() - wall)
    start = time.perf_counter()
    runtime.predict([photo])
    row.people_s.append(time.perf_counter() - start)


def _row(path: Path, runtime: PoseRuntime) -> EngineRow:
    info = BACKEND_TABLE[runtime.sidecar.backend]
    return EngineRow(
        path=path,
        engine=info.title,
        precision=runtime.precision,
        output="candidates" if runtime.sidecar.decode == "peaks" else "maps",
        file_mib=_files_mib(path, runtime.sidecar),
        install_mib=_installed_mib(info.packages),
    )


def _files_mib(path: Path, sidecar: Sidecar) -> float:
    """Return the size of a network's files, which may have been renamed together."""
    suffixes = {Path(name).suffix for name in sidecar.sha256}
    files = {path, *(path.with_suffix(suffix) for suffix in suffixes)}
    return sum(file.stat().st_size for file in files if file.is_file()) / _MIB


def _installed_mib(packages: Sequence[str]) -> float | None:
    total = 0
    for package in packages:
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            return None
        total += sum(path.stat().st_size for path in map(_located, files) if path.is_file())
    return total / _MIB if packages else None


def _located(file: metadata.PackagePath) -> Path:
    return Path(str(file.locate()))


def print_engines(rows: Sequence[EngineRow]) -> None:
    """Print a table; ratios are to the first row, of the medians of processor time of the network."""
    print(
        "| engine | precision | output | network, CPU ms | ms | photo to people, ms | ratio | file, MiB | "
        "install, MiB | peak, MiB | AP |\n" + "|---" * 11 + "|"
    )
    first = _median_ms(rows[0].network_s)
    for row in rows:
        cpu, wall, people = map(_median_ms, (row.network_s, row.network_wall_s, row.people_s))
        cells = [row.engine, row.precision, row.output, f"{cpu:.1f}", f"{wall:.1f}", f"{people:.1f}",
                 f"{first / cpu:.2f}", f"{row.file_mib:.1f}", *_optional(row)]  # fmt: skip
        print("| " + " | ".join(cells) + " |")


def _optional(row: EngineRow) -> list[str]:
    forms: list[tuple[float | None, Callable[[float], str]]] = [
        (row.install_mib, "{:.0f}".format),
        (row.peak_mib, "{:.0f}".format),
        (row.ap, "{:.4f}".format),
    ]
    return ["" if value is None else form(value) for value, form in forms]


def _median_ms(seconds: Sequence[float]) -> float:
    return 1e3 * statistics.median(seconds)
