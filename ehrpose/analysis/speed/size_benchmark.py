"""Times of networks whose input follows the photo, against networks of exactly that size, side by side."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.network_input import input_plan
from ehrpose.deploy.pipeline import export
from ehrpose.deploy.runtime import PoseRuntime

PHOTOS_WH = ((640, 480), (480, 640), (640, 427), (1280, 720), (500, 500))
BACKENDS = ("onnxruntime", "openvino", "torch")


def compare_sizes(
    config: str,
    checkpoint: str | None = None,
    backends: Sequence[str] = BACKENDS,
    precision: str = "fp32",
    rounds: int = 20,
    num_threads: int = 1,
    cfg_options: Mapping[str, Any] | None = None,
    max_shapes: int | None = None,
) -> list[tuple[str, tuple[int, int], float, float, float]]:
    """Time each backend's network of the photo's size, and the fixed one, in turns.

    Args:
        config: Config file.
        checkpoint: Weights; None: random ones.
        backends: Backends of ``tools/deploy.py``.
        precision: Precision of both networks.
        rounds: Runs of each.
        num_threads: CPU threads.
        cfg_options: Values that replace those of the config.
        max_shapes: Input sizes that get a compiled network of their own in OpenVINO; None: its backend's default.

    Returns:
        Backend, width and height of the input, and medians in milliseconds of processor time: of the fixed network, of
        the other, and of the other right after an input of another size.
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for backend in backends:

            def load(name: str, backend: str = backend, **options: Any) -> PoseRuntime:
                chosen = ExportOptions(backend=backend, precision=precision, **options)
                path = export(config, checkpoint, Path(folder) / backend / name, chosen, (), cfg_options).path
                more: dict[str, Any] = (
                    {} if max_shapes is None or backend != "openvino" else {"max_shapes": max_shapes}
                )
                return PoseRuntime(path, num_threads=num_threads, trust_pt2=True, **more)

            free = load("free")
            plans = [input_plan(photo_wh, free.sidecar).size_wh for photo_wh in PHOTOS_WH]
            fixed = [load(f"{w}x{h}", input_wh=(w, h)) for w, h in plans]
            images = [
                np.random.default_rng(i).integers(0, 256, (1, 3, h, w), np.uint8)
                for i, (w, h) in enumerate(plans)
            ]
            times = np.zeros((len(plans), 3, rounds))
            for number in range(-2, rounds):  # the first ones warm up
                for place, image in enumerate(images):
                    free.run(image)
                    measured = [_cpu_ms(fixed[place], image), _cpu_ms(free, image)]
                    free.run(images[place - 1])
                    measured.append(_cpu_ms(free, image))
                    if number >= 0:
                        times[place, :, number] = measured
            rows += [(backend, plan, *map(statistics.median, times[i])) for i, plan in enumerate(plans)]
            for runtime in (free, *fixed):
                runtime.close()
    return rows


def table(rows: Sequence[tuple[str, tuple[int, int], float, float, float]]) -> str:
    """Return a Markdown table of ``compare_sizes``."""
    lines = [
        "| backend | input, px | fixed, ms | follows the photo, ms | ratio | right after another size, ratio |"
    ]
    lines += ["|---|---|---|---|---|---|"]
    for backend, (width, height), fixed, free, changed in rows:
        cells = [backend, f"{width} x {height}", f"{fixed:.1f}", f"{free:.1f}"]
        cells += [f"{free / fixed:.2f}", f"{changed / fixed:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _cpu_ms(runtime: PoseRuntime, image: np.ndarray) -> float:
    start = time.process_time()
    runtime.run(image)
    return 1000 * (time.process_time() - start)
