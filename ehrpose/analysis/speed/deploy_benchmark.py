"""Times from photo file to people for models x backends x precisions, interleaved in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn

from ehrpose.analysis.speed.benchmark_report import Row
from ehrpose.analysis.speed.memory_probe import peak_memory
from ehrpose.analysis.speed.power import Energy, PowerSensor, measure_idle
from ehrpose.analysis.speed.torch_runtime import TorchRuntime
from ehrpose.config import load_config, typed_options
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.pipeline import drawn_scene, export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.files import temporary_folder
from ehrpose.image_io import read_image
from ehrpose.media.inputs import list_images
from ehrpose.models.loading import init_model

# The model in eager mode; "torch exported" is the backend torch.
EAGER = ("torch", "torch, channels_last")
EXPORTED_TORCH = "torch exported"
IDLE_SECONDS = 5.0


@dataclass(frozen=True)
class BenchmarkOptions:
    """Options of the benchmark.

    Attributes:
        images: Photo, folder or glob; None renders a scene.
        checkpoint: Weights, for a single config; None: random weights, with which the number of people is arbitrary.
        num_threads: Threads of the network.
        rounds: Photos timed per form.
        calib_data: Folder of calibration photos for int8.
        cfg_options: Values that replace those of the config.
        memory: Measure peak memory, with each form in its own process.
        sensor: Power sensor; None: energy is not measured.
        power_seconds: Duration of the energy measurement of each form.
    """

    images: str | None = None
    checkpoint: str | None = None
    num_threads: int = 2
    rounds: int = 30
    calib_data: str | None = None
    cfg_options: Mapping[str, Any] | None = None
    memory: bool = False
    sensor: PowerSensor | None = None
    power_seconds: float = 10.0


def run_benchmark(
    configs: Sequence[str], forms: Sequence[tuple[str, str]], options: BenchmarkOptions
) -> list[Row]:
    """Time every config in every (backend, precision) form.

    Args:
        configs: Config files.
        forms: Pairs such as ("onnxruntime", "int8"), with a backend of ``tools/deploy.py``, EXPORTED_TORCH, or one of
            EAGER with "fp32".
        options: Options of the benchmark.

    Raises:
        ValueError: Several configs with one checkpoint, or int8 without calibration photos.
        DeployError: A form cannot be exported or run.
    """
    if options.checkpoint is not None and len(configs) > 1:
        raise ValueError(f"expected one config for the checkpoint, got {len(configs)}: run them one by one")
    for backend, precision in forms:  # mistakes are told before the first export
        _export_options(backend, precision, options)
    torch.set_num_threads(options.num_threads)
    cv2.setNumThreads(options.num_threads)
    rows: list[Row] = []
    with temporary_folder() as folder:
        for config in configs:
            rows += _ConfigBenchmark(config, forms, options, folder / Path(config).stem).measure()
    return rows


def form_of(name: str) -> tuple[str, str]:
    """Return backend and precision of a form given on the command line as ``NAME`` or ``NAME:PRECISION``."""
    backend, _, precision = name.partition(":")
    names = {"torch-channels-last": EAGER[1], "torch-exported": EXPORTED_TORCH}
    return names.get(backend, backend.replace("-", "_")), precision or "fp32"


class _ConfigBenchmark:
    """One config in all forms, loaded side by side."""

    def __init__(
        self, config: str, forms: Sequence[tuple[str, str]], options: BenchmarkOptions, folder: Path
    ):
        self.config, self.forms, self.options, self.folder = config, forms, options, folder
        # Parsed here, as the process that measures the memory gets plain JSON.
        self.cfg_options = typed_options(load_config(config, parts=()), options.cfg_options) or None
        self.checkpoint = options.checkpoint or str(folder.with_suffix(".pth"))
        if options.checkpoint is None:
            _save_random(config, self.cfg_options, self.checkpoint)
        self.exact = PoseRuntime(self._export("exact", ExportOptions()))
        self.jobs = [self._job(backend, precision) for backend, precision in forms]
        self.rows = [Row(Path(config).stem, backend, precision) for backend, precision in forms]
        self.photos = self._find_photos()

    def measure(self) -> list[Row]:
        """Time the forms in turn, then measure what cannot be interleaved."""
        runtimes = [self._open(job) for job in self.jobs]
        for row, runtime in zip(self.rows, runtimes):
            row.precision = getattr(runtime, "precision", row.precision)  # what really runs
        found: list[list[int]] = [[] for _ in runtimes]
        for number in range(-2, self.options.rounds):  # the first ones warm up
            path = str(self.photos[number % len(self.photos)])
            photo = read_image(path)
            for row, runtime, counts in zip(self.rows, runtimes, found):
                pixels = runtime.prepare(photo)[0][
                    None
                ]  # TensorRT has a few sizes, the others that of the photo
                # The previous form's threads may still be spinning, and its data fills the caches.
                runtime.run(pixels)
                network = _milliseconds(lambda: runtime.run(pixels))  # noqa: B023
                start = time.perf_counter()
                (people,) = runtime.predict([path])
                whole = 1000 * (time.perf_counter() - start)
                if number >= 0:
                    row.network_ms.append(network)
                    row.whole_ms.append(whole)
                    counts.append(len(people))
        for row, counts in zip(self.rows, found):
            row.people = statistics.mean(counts)
        if self.options.sensor is not None:
            self._measure_energy(runtimes, self.options.sensor)
        for runtime in (*runtimes, self.exact):
            runtime.close()
        if self.options.memory:
            for row, job in zip(self.rows, self.jobs):
                row.peak_mib = peak_memory(job)
        return self.rows

    def _measure_energy(self, runtimes: Sequence[Any], sensor: PowerSensor) -> None:
        idle = measure_idle(sensor, min(IDLE_SECONDS, self.options.power_seconds))
        for row, runtime in zip(self.rows, runtimes):
            frames, begin = 0, time.perf_counter()
            sensor.start()
            while time.perf_counter() - begin < self.options.power_seconds:
                runtime.predict([str(self.photos[frames % len(self.photos)])])
                frames += 1
            joules, seconds = sensor.stop(), time.perf_counter() - begin
            row.energy = Energy(joules, seconds, sensor.scope, sensor.source, idle)
            row.energy_frames = frames

    def _export(self, name: str, options: ExportOptions) -> Path:
        return export(self.config, self.checkpoint, self.folder / name, options, (), self.cfg_options).path

    def _job(self, backend: str, precision: str) -> dict[str, Any]:
        """Return how to open a form, as plain data, since another process may open it."""
        job: dict[str, Any] = {
            "path": str(self.exact.path),
            "threads": self.options.num_threads,
            "options": {},
        }
        if backend in EAGER:
            return {**job, "config": self.config, "checkpoint": self.checkpoint, "cfg_options": self.cfg_options,
                    "channels_last": backend.endswith("channels_last")}  # fmt: skip
        options = _export_options(backend, precision, self.options)
        return {**job, "path": str(self._export(f"{backend}_{precision}", options))}

    @staticmethod
    def _open(job: Mapping[str, Any]) -> Any:
        if "config" in job:
            return TorchRuntime(
                job["path"], job["config"], job["checkpoint"], job["cfg_options"], job["channels_last"]
            )
        return PoseRuntime(job["path"], num_threads=job["threads"], trust_pt2=True, **job["options"])

    def _find_photos(self) -> list[Path]:
        if self.options.images is not None:
            photos = list_images(self.options.images)
        else:
            photos = [self.folder / "scene.png"]
            cv2.imwrite(str(photos[0]), drawn_scene(self.exact.codec.meta, self.exact.sidecar.size_wh))
        for job in self.jobs:
            job["photo"] = str(photos[0])
        return photos


def _export_options(backend: str, precision: str, options: BenchmarkOptions) -> ExportOptions:
    """Return the options with which a form is exported; for those of EAGER, those of the network they are beside."""
    if backend in EAGER:
        return ExportOptions()
    return ExportOptions(
        backend="torch" if backend == EXPORTED_TORCH else backend,
        precision=precision,
        calib_data=options.calib_data if precision == "int8" else None,
    )


@torch.no_grad()
def _save_random(config: str, cfg_options: Any, path: str) -> None:
    """Save random weights whose maps have the range of trained ones: maps near 0 could not be compared in int8."""
    torch.manual_seed(0)
    model = init_model(config, cfg_options=cfg_options)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight)
    for name, layer in model.head.named_children():
        if name.startswith("output"):  # in order: the second sees the output of the first
            seen: list[torch.Tensor] = []
            hook = layer.register_forward_hook(lambda module, inputs, result: seen.append(result))  # noqa: B023
            model(torch.randn(1, 3, 128, 128))
            hook.remove()
            # Few values above the threshold, as the number of spurious people is not stable.
            layer.weight *= 0.02 / seen[0].std()
    torch.save({"state_dict": model.state_dict()}, path)


def _milliseconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)
