"""Curves and training times from the JSON logs that MMEngine's Runner writes to ``vis_data``.

A log has one JSON object per line: training records with ``iter`` (and ``epoch`` in epoch-based training), and
validation records with ``step``, which counts epochs or iterations, like the training.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.files import make_parent, written_beside

Records = Sequence[Mapping[str, Any]]


def read_log(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Return the records of a log, oldest first.

    An incomplete last line, as a killed run leaves it, is dropped.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: A line is not a JSON object, or there are no records.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"log not found: {path}; logs are in the folder vis_data of each run in a work_dir"
        )
    lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
    records: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines) and records:
                break
            raise ValueError(
                f"{path}, line {number}: expected one JSON object per line, got {line[:60]!r}"
            ) from error
        if not isinstance(record, dict):
            raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:60]!r}")
        records.append(record)
    if not records:
        raise ValueError(f"{path} has no records")
    return records


def read_curve(records: Records, key: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Return one key over the training.

    Args:
        records: Records of one log.
        key: Key such as ``loss``, ``lr`` or ``coco/AP``.

    Returns:
        (N,) positions, (N,) values, and what the positions count: ``"iteration"`` or ``"epoch"``.

    Raises:
        ValueError: No record has the key; the message lists the available ones.
    """
    found = [record for record in records if _is_number(record.get(key))]
    if not found:
        known = sorted({k for record in records for k in record if _is_number(record[k])})
        close = difflib.get_close_matches(key, known, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ValueError(f"no record has the key {key!r}{hint}; available: {', '.join(known)}")
    by_epoch = any("epoch" in record for record in records)
    is_training = any("iter" in record for record in found)
    unit = "iteration" if is_training or not by_epoch else "epoch"
    if is_training:
        found = [record for record in found if "iter" in record]
    positions = [record.get("iter", record.get("step", i)) for i, record in enumerate(found, 1)]
    return np.array(positions), np.array([record[key] for record in found], dtype=float), unit


def plot_curves(
    logs: Mapping[str, Records],
    keys: Sequence[str],
    out: str | os.PathLike | None = None,
    legend: Sequence[str] | None = None,
    title: str | None = None,
    style: str = "default",
    backend: str | None = None,
) -> None:
    """Draw one line per log and key.

    Args:
        logs: Records by the log's name.
        keys: Keys to draw, either all counted in epochs or all in iterations.
        out: Image file to write; None shows a window.
        legend: Names of the lines, log by log, key by key; default: log and key.
        title: Title of the plot.
        style: Name of a Matplotlib style.
        backend: Name of a Matplotlib backend; default: ``Agg`` if a file is written.

    Raises:
        ValueError: A key is in no record, units are mixed, the legend does not have one name per line, or the style
            is unknown.
    """
    if legend is not None and len(legend) != len(logs) * len(keys):
        raise ValueError(
            f"expected {len(logs) * len(keys)} names in the legend (logs x keys), got {len(legend)}: {list(legend)}"
        )
    curves = {f"{name} {key}": read_curve(records, key) for name, records in logs.items() for key in keys}
    units = {unit for _, _, unit in curves.values()}
    if len(units) > 1:
        raise ValueError(f"keys {list(keys)} mix iterations and epochs: draw them in separate plots")
    import matplotlib

    if backend or out:
        matplotlib.use(backend or "Agg")
    from matplotlib import pyplot as plt

    if style != "default" and style not in plt.style.available:
        raise ValueError(f"unknown style {style!r}; available: {', '.join(plt.style.available)}")
    with plt.style.context(style):
        figure, axes = plt.subplots(figsize=(8, 5), layout="constrained")
        for (positions, values, _), name in zip(curves.values(), legend or curves):
            axes.plot(positions, values, label=name, marker="." if len(values) < 50 else "")
        axes.set(xlabel=units.pop(), title=title or "")
        axes.grid(alpha=0.3)
        axes.legend()
        if out is None:
            plt.show()
        else:
            _save(figure, Path(out))
        plt.close(figure)


def summarize_times(records: Records, include_outliers: bool = False) -> dict[str, float]:
    """Return seconds per training iteration, by epoch.

    Args:
        records: Records of one log.
        include_outliers: Include the first record of each epoch, in which the data loaders start.

    Returns:
        ``mean`` over all epochs, ``std`` between them, and ``slowest_epoch``, ``slowest``, ``fastest_epoch``,
        ``fastest``. Iteration-based training is one epoch, number 1.

    Raises:
        ValueError: No training record has a time.
    """
    by_epoch: dict[int, list[float]] = {}
    for record in records:
        if "iter" in record and _is_number(record.get("time")):
            by_epoch.setdefault(int(record.get("epoch", 1)), []).append(float(record["time"]))
    if not by_epoch:
        raise ValueError("no training record has the key 'time'")
    if not include_outliers:
        by_epoch = {epoch: times[1:] or times for epoch, times in by_epoch.items()}
    means = {epoch: float(np.mean(times)) for epoch, times in by_epoch.items()}
    slowest = max(means, key=means.__getitem__)
    fastest = min(means, key=means.__getitem__)
    return {
        "mean": float(np.mean([time for times in by_epoch.values() for time in times])),
        "std": float(np.std(list(means.values()))),
        "slowest_epoch": slowest,
        "slowest": means[slowest],
        "fastest_epoch": fastest,
        "fastest": means[fastest],
    }


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _save(figure: Any, out: Path) -> None:
    make_parent(out)
    with written_beside(out) as partial:
        figure.savefig(partial)
