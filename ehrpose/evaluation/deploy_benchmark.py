"""How long photos take from file to people: models x backends x precisions, interleaved, in one run."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from ehrpose.apis import init_model, list_images
from ehrpose.deploy.pipeline import ExportOptions, drawn_scene, export
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.image_io import read_image
from ehrpose.structures import Maps, People

TORCH = ("torch", "torch, channels_last")


@dataclass
class Row:
    """One model on one backend.

    Attributes:
        model: Name of the config.
        backend: Name of the backend, or of a form of torch.
        precision: Of the arithmetic.
        network_ms: Times of the network alone, on an image that is in memory.
        whole_ms: Times from the photo's file to people: read, resize, network, decode.
        people: Mean number of people found in a photo.
    """

    model: str
    backend: str
    precision: str
    network_ms: list[float] = field(default_factory=list)
    whole_ms: list[float] = field(default_factory=list)
    people: float = 0.0

    def summary(self) -> dict[str, Any]:
        """Return medians, 95th percentiles and frames a second."""
        found: dict[str, Any] = {
            key: getattr(self, key) for key in ("model", "backend", "precision", "people")
        }
        for name in ("network_ms", "whole_ms"):
            times = getattr(self, name)
            found[name] = statistics.median(times)
            found[f"{name}_95"] = float(np.percentile(times, 95))
        found["fps"] = 1000 / found["whole_ms"]
        return found


class _TorchRuntime:
    """The model itself behind the runtime's methods."""

    def __init__(self, like: PoseRuntime, model: Any, channels_last: bool):
        self.like, self.model = like, model
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.model.to(memory_format=self.format)

    def prepare(self, image: Any) -> tuple[np.ndarray, np.ndarray]:
        return self.like.prepare(image)

    @torch.no_grad()
    def run(self, batch: np.ndarray) -> Maps:
        images = torch.from_numpy(batch).contiguous(memory_format=self.format)
        maps = self.model.maps(self.model.data_preprocessor.normalize(images))
        return Maps(*(None if part is None else part.numpy() for part in maps))

    def predict(self, images: Sequence[Any]) -> list[People]:
        pixels, _ = self.prepare(images[0])
        return [self.like.codec.decode(self.run(pixels[None]).image(0))]

    def close(self) -> None:
        """There is nothing to give back."""


def run_benchmark(
    configs: Sequence[str],
    forms: Sequence[tuple[str, str]],
    images: str | None,
    checkpoint: str | None,
    num_threads: int,
    rounds: int,
    calib_data: str | None = None,
    cfg_options: Any = None,
) -> list[Row]:
    """Time every config in every (backend, precision) form.

    Args:
        configs: Config files.
        forms: Such as ("onnxruntime", "int8"); backends of ``tools/deploy.py``, or one of TORCH with "fp32".
        images: Photo, folder or glob; None draws a scene.
        checkpoint: Weights, for one config; None leaves them random, which finds few people or many.
        num_threads: Threads of the network.
        rounds: Photos timed in each form.
        calib_data: Folder of photos for int8.
        cfg_options: Replace config values.

    Raises:
        ValueError: Several configs and one checkpoint, or int8 without photos.
        DeployError: A form cannot be made or run.
    """
    if checkpoint is not None and len(configs) > 1:
        raise ValueError(f"one checkpoint fits one config, got {len(configs)} configs")
    torch.set_num_threads(num_threads)
    cv2.setNumThreads(num_threads)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for config in configs:
            rows += _time_config(config, forms, images, checkpoint, num_threads, rounds, calib_data, cfg_options,
                                 Path(folder) / Path(config).stem)  # fmt: skip
    return rows


def _time_config(
    config: str, forms: Sequence[tuple[str, str]], images: str | None, checkpoint: str | None, num_threads: int,
    rounds: int, calib_data: str | None, cfg_options: Any, folder: Path,
) -> list[Row]:  # fmt: skip
    if checkpoint is None:
        checkpoint = str(folder.with_suffix(".pth"))
        _save_random(config, cfg_options, checkpoint)
    exact = PoseRuntime(export(config, checkpoint, folder / "exact", ExportOptions(), (), cfg_options).path)
    runtimes: list[Any] = []
    for backend, precision in forms:
        if backend in TORCH:
            model = init_model(config, checkpoint, cfg_options=cfg_options)
            runtimes.append(_TorchRuntime(exact, model, backend.endswith("channels_last")))
            continue
        options = ExportOptions(backend=backend, precision=precision,
                                calib_data=calib_data if precision == "int8" else None)  # fmt: skip
        made = export(config, checkpoint, folder / f"{backend}_{precision}", options, (), cfg_options)
        runtimes.append(PoseRuntime(made.path, num_threads=num_threads))
    if images is None:
        scene = folder / "scene.png"
        cv2.imwrite(str(scene), drawn_scene(exact.codec.meta, exact.sidecar.size_wh))
        photos: list[Path] = [scene]
    else:
        photos = list_images(images)
    rows = [Row(Path(config).stem, backend, precision) for backend, precision in forms]
    found: list[list[int]] = [[] for _ in forms]
    for number in range(-2, rounds):  # the first ones warm up
        path = photos[number % len(photos)]
        pixels = exact.prepare(read_image(path))[0][None]
        for row, runtime, counts in zip(rows, runtimes, found):
            runtime.run(
                pixels
            )  # threads of the form before may still be spinning, and the caches are its own
            network = _milliseconds(lambda: runtime.run(pixels))  # noqa: B023
            start = time.perf_counter()
            (people,) = runtime.predict([str(path)])
            whole = 1000 * (time.perf_counter() - start)
            if number >= 0:
                row.network_ms.append(network)
                row.whole_ms.append(whole)
                counts.append(len(people))
    for row, runtime, counts in zip(rows, runtimes, found):
        row.people = statistics.mean(counts)
        runtime.close()
    exact.close()
    return rows


@torch.no_grad()
def _save_random(config: str, cfg_options: Any, path: str) -> None:
    """Save random weights whose maps are of the size that trained ones are: 0 could not be compared in int8."""
    torch.manual_seed(0)
    model = init_model(config, cfg_options=cfg_options)
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight)
    for name, layer in model.head.named_children():
        if name.startswith("output"):  # one after the other: the second sees what the first gives
            seen: list[torch.Tensor] = []
            hook = layer.register_forward_hook(lambda module, inputs, result: seen.append(result))  # noqa: B023
            model(torch.randn(1, 3, 128, 128))
            hook.remove()
            layer.weight *= (
                0.02 / seen[0].std()
            )  # few values over the threshold: people of chance are no stable ones
    torch.save({"state_dict": model.state_dict()}, path)


def _milliseconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return 1000 * (time.perf_counter() - start)


def describe_machine(num_threads: int) -> dict[str, Any]:
    """Return what the figures depend on."""
    found = {"processor": _processor(), "cores": os.cpu_count(), "threads": num_threads,
             "python": platform.python_version(), "torch": torch.__version__}  # fmt: skip
    for name in ("onnxruntime", "openvino"):
        if name in sys.modules:
            found[name] = sys.modules[name].__version__.split("-")[0]
    return {**found, "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def print_rows(
    rows: Sequence[Row], num_threads: int, out: str | None = None, watts: float | None = None
) -> None:
    """Print the table; ``out`` is a json file for it, ``watts`` adds frames a second per watt of that scope."""
    machine = describe_machine(num_threads)
    print(", ".join(f"{key} {value}" for key, value in machine.items()))
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
    columns += ["people", "ratio"] + ["frames/s/W"] * (watts is not None)
    print("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns))
    first: dict[str, float] = {}
    for row in rows:
        s = row.summary()
        base = first.setdefault(row.model, s["network_ms"])
        print(
            f"| {row.model} | {row.backend} | {row.precision} | {s['network_ms']:.1f} | {s['network_ms_95']:.1f} | "
            f"{s['whole_ms']:.1f} | {s['whole_ms_95']:.1f} | {s['fps']:.1f} | {row.people:.1f} | "
            f"{base / s['network_ms']:.2f} |" + (f" {s['fps'] / watts:.2f} |" if watts else "")
        )
    if out is not None:
        target = Path(out)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.part")
        times = [
            {**r.summary(), "network_times_ms": r.network_ms, "whole_times_ms": r.whole_ms} for r in rows
        ]
        beside.write_text(json.dumps({"machine": machine, "rows": times}))
        beside.replace(target)
