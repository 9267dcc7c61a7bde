"""Measuring what the paper's tables ask for: AP of weights at hand, and frames per second of the network alone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.analysis.paper.tables import Measured
from ehrpose.analysis.speed.power import PowerSensor
from ehrpose.config import load_config, resolve
from ehrpose.files import temporary_folder

BACKENDS = ("torch", "onnxruntime", "openvino")


def measure_ap(
    measured: Measured, config: str | Path, weights: str | Path, cfg_options: Mapping[str, Any] | None = None
) -> None:
    """Evaluate weights on the config's test data, with its own flip test, as ``tools/test.py`` does.

    Args:
        measured: Receives ``ap``, or ``top1`` of a classifier, and ``num_photos``.
        config: Config file.
        weights: Checkpoint, or a name in the model zoo.
        cfg_options: Values that replace those of the config.

    Raises:
        FileNotFoundError: Weights or data do not exist.
        ValueError: They do not fit.
    """
    from ehrpose.engine.runner import build_runner, evaluate_checkpoint

    cfg = load_config(config, cfg_options)
    with temporary_folder() as folder:
        metrics = evaluate_checkpoint(cfg, weights, folder)
        measured.num_photos = len(build_runner(cfg, folder).test_dataloader.dataset)
    by_name = {name.rpartition("/")[2]: float(value) for name, value in metrics.items()}
    measured.ap, measured.top1 = by_name.get("AP"), by_name.get("top1")


def measure_speed(
    measured: Measured,
    config: str | Path,
    backend: str = "torch",
    num_threads: int = 2,
    seconds: float = 5.0,
    sensor: PowerSensor | None = None,
    watts: float | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> None:
    """Time the network alone: random weights, batch 1, the config's square input, as the paper did.

    Args:
        measured: Receives ``fps``, the inverse of the median, and ``watts``.
        config: Config file.
        backend: One of BACKENDS.
        num_threads: CPU threads.
        seconds: Duration, after two runs that are not counted; at least three runs.
        sensor: Power sensor that is read meanwhile.
        watts: Power to state without a sensor.
        cfg_options: Values that replace those of the config.

    Raises:
        DeployError: The network cannot be exported to this backend, or the backend is not installed.
    """
    with temporary_folder() as folder:
        step = _step(config, backend, num_threads, folder, cfg_options)
        for _ in range(2):
            step()
        times: list[float] = []
        if sensor is not None:
            sensor.start()
        begin = time.perf_counter()
        while len(times) < 3 or time.perf_counter() - begin < seconds:
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        spent = time.perf_counter() - begin
        measured.watts = watts if sensor is None else sensor.stop() / spent
    measured.fps = 1 / statistics.median(times)


def _step(config: str | Path, backend: str, num_threads: int, folder: Path, cfg_options: Any) -> Any:
    """Return a function that runs the network once."""
    import torch

    torch.set_num_threads(num_threads)
    side = int(resolve(load_config(config, cfg_options)).codec.input_size)
    if backend == "torch":
        from ehrpose.models.loading import init_model

        model = init_model(str(config), None, "cpu", dict(cfg_options or {}))
        images = torch.zeros(1, 3, side, side)

        def run() -> None:
            with torch.inference_mode():
                model.maps(images)

        return run
    from ehrpose.deploy.export.options import ExportOptions
    from ehrpose.deploy.pipeline import export
    from ehrpose.deploy.runtime import PoseRuntime

    options = ExportOptions(backend=backend, input_wh=(side, side))
    path = export(str(config), None, folder / "network", options, (), cfg_options).path
    runtime = PoseRuntime(path, num_threads=num_threads)
    batch = np.zeros(runtime.sidecar.input["shape"], runtime.sidecar.input["dtype"])
    return lambda: runtime.run(batch)
