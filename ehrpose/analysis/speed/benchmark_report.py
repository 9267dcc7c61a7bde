"""Tables, json and plots of the deploy benchmark."""

from __future__ import annotations

import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.analysis.speed.power import Energy
from ehrpose.files import make_parent, write_text, written_beside
from ehrpose.machine_info import processor_name


@dataclass
class Row:
    """One model on one backend.

    Attributes:
        model: Name of the config.
        backend: Name of the backend, or of a variant of torch.
        precision: Precision of the arithmetic.
        network_ms: Times of the network alone, on an image in memory.
        whole_ms: Times from the photo's file to people: read, resize, network, decode.
        people: Mean number of people found per photo.
        peak_mib: Peak resident memory of a separate process; None: not measured.
        energy: What the sensor measured over ``energy_frames`` photos.
        energy_frames: Number of those photos.
    """

    model: str
    backend: str
    precision: str
    network_ms: list[float] = field(default_factory=list)
    whole_ms: list[float] = field(default_factory=list)
    people: float = 0.0
    peak_mib: float | None = None
    energy: Energy | None = None
    energy_frames: int = 0

    def summary(self) -> dict[str, Any]:
        """Return medians, 95th percentiles, frames per second (from the median, and overall), memory and energy."""
        found: dict[str, Any] = {
            key: getattr(self, key) for key in ("model", "backend", "precision", "people")
        }
        for name in ("network_ms", "whole_ms"):
            times = getattr(self, name)
            found[name] = statistics.median(times)
            found[f"{name}_95"] = float(np.percentile(times, 95))
        found["fps"] = 1000 / found["whole_ms"]
        found["throughput_fps"] = 1000 * len(self.whole_ms) / sum(self.whole_ms)
        found["peak_mib"] = self.peak_mib
        if self.energy is not None:
            found["energy"] = {**asdict(self.energy), "watts": self.energy.watts, "frames": self.energy_frames,
                               "joules_per_frame": self.energy.joules / max(self.energy_frames, 1)}  # fmt: skip
        return found


def describe_machine(num_threads: int) -> dict[str, Any]:
    """Return the hardware and versions that the figures depend on."""
    found = {"processor": processor_name(), "cores": os.cpu_count(), "threads": num_threads,
             "python": platform.python_version()}  # fmt: skip
    for name in ("torch", "onnxruntime", "openvino"):
        if name in sys.modules:
            found[name] = sys.modules[name].__version__.split("-")[0]
    return found


def table(rows: Sequence[Row], watts: float | None = None, ap: float | None = None) -> str:
    """Return a Markdown table; ratios are to the first row of each model.

    Args:
        rows: The measurements.
        watts: Power given by the user, instead of a sensor's.
        ap: AP of the model, percent, for accuracy-efficiency.
    """
    with_power = watts is not None or any(row.energy for row in rows)
    columns = [
        "model",
        "backend",
        "precision",
        "network, ms",
        "95 %",
        "photo to people, ms",
        "95 %",
        "frames/s",
    ]
    columns += ["overall, frames/s", "people", "peak MiB", "ratio"]
    columns += ["W", "J/frame", "frames/s/W"] * with_power + ["AE"] * (with_power and ap is not None)
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    first: dict[str, float] = {}
    for row in rows:
        s = row.summary()
        base = first.setdefault(row.model, s["network_ms"])
        cells = [row.model, row.backend, row.precision]
        cells += [f"{s[key]:.1f}" for key in ("network_ms", "network_ms_95", "whole_ms", "whole_ms_95", "fps",
                                              "throughput_fps", "people")]  # fmt: skip
        cells += ["-" if row.peak_mib is None else f"{row.peak_mib:.0f}", f"{base / s['network_ms']:.2f}"]
        if with_power:
            cells += _power_cells(row, s, watts, ap)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _power_cells(row: Row, summary: dict[str, Any], watts: float | None, ap: float | None) -> list[str]:
    if row.energy is not None:
        power, fps = row.energy.watts, row.energy_frames / row.energy.seconds
    elif watts is not None:
        power, fps = watts, summary["fps"]
    else:
        return ["-"] * (3 + (ap is not None))
    cells = [f"{power:.2f}", f"{power / fps:.3f}", f"{fps / power:.2f}"]
    return cells if ap is None else [*cells, f"{accuracy_efficiency(ap, fps, power):.1f}"]


def describe_power(rows: Sequence[Row], watts: float | None) -> str:
    """Return a line that says what the power covers; empty if there is none."""
    energies = [row.energy for row in rows if row.energy is not None]
    if energies:
        idle = energies[0].idle_watts
        before = "" if idle is None else f", {idle:.2f} W idle"
        return f"power: {energies[0].source}, of the {energies[0].scope}{before}; frames/s/W at that load"
    return "" if watts is None else f"power: {watts:g} W as given, not measured"


def write_json(rows: Sequence[Row], machine: dict[str, Any], path: str | Path) -> None:
    """Write all measurements to a JSON file, whole or not at all."""
    times = [{**r.summary(), "network_times_ms": r.network_ms, "whole_times_ms": r.whole_ms} for r in rows]
    write_text(path, json.dumps({"machine": machine, "rows": times}))


def plot(rows: Sequence[Row], path: str | Path, title: str = "") -> None:
    """Plot the frames per second of each row, for the network alone and from photo to people.

    Args:
        rows: The measurements.
        path: File to write: .png, .svg, .pdf.
        title: Title of the plot.

    Raises:
        ValueError: The suffix is not one of a plot.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    target = Path(path)
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.42 * len(rows)), layout="constrained")
    if target.suffix.lower().lstrip(".") not in figure.canvas.get_supported_filetypes():
        pyplot.close(figure)
        raise ValueError(f"{path}: expected a plot file ending in .png, .svg or .pdf, got {target.suffix!r}")
    places = np.arange(len(rows))[::-1]
    network = [1000 / row.summary()["network_ms"] for row in rows]
    whole = [row.summary()["fps"] for row in rows]
    axes.barh(places + 0.19, network, 0.36, color="#9ecae1", label="network alone")
    bars = axes.barh(places - 0.19, whole, 0.36, color="#2171b5", label="photo to people")
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_yticks(places, [f"{row.model}  {row.backend} {row.precision}" for row in rows])
    axes.set_xlabel("frames per second")
    axes.margins(x=0.12)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), frameon=False, loc="outside lower center", ncols=2)
    axes.set_title(title, fontsize=9)
    make_parent(target)
    try:
        with written_beside(target) as partial:
            figure.savefig(partial, dpi=110)
    finally:
        pyplot.close(figure)


def accuracy_efficiency(ap: float, fps: float, watts: float) -> float:
    """Return ``ap * fps / watts``.

    The paper's table uses AP in percent and the board's nameplate power of 15 W, not a measurement.

    Args:
        ap: Average precision, percent, 0 to 100.
        fps: Frames per second, not negative.
        watts: Power, positive.

    Raises:
        ValueError: A value is out of range.
    """
    if not (0 <= ap <= 100 and 0 <= fps < math.inf and 0 < watts < math.inf):
        raise ValueError(
            f"expected ap from 0 to 100, fps from 0 and positive watts, got {ap}, {fps}, {watts}"
        )
    return ap * fps / watts
