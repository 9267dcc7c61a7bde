"""Exporting a model from a config and a checkpoint: export, check, write, as ``tools/deploy.py`` does."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from ehrpose.config import INFERENCE_PARTS, load_config
from ehrpose.deploy.export import parity
from ehrpose.deploy.export.onnx import DeployNetwork, export_onnx, output_shapes, torch_maps, torch_peaks
from ehrpose.deploy.export.options import ExportOptions as ExportOptions
from ehrpose.deploy.export.precision import lower_precision
from ehrpose.deploy.export.torch_program import export_torch
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import INPUT_NAME, Sidecar, file_hash, read_sidecar, sidecar_path
from ehrpose.file_sets import written_together
from ehrpose.files import PartialFile, make_parent
from ehrpose.image_io import read_image
from ehrpose.image_warp import letterbox_warp, warp_image
from ehrpose.models.loading import init_model
from ehrpose.registry import CODECS
from ehrpose.structures import Maps
from ehrpose.version import __version__

__all__ = ["ExportOptions", "Exported", "export"]

# Layers that find candidates, which TensorRT must compute in float32, and whether all of their outputs are float.
PEAK_LAYERS = {"/peaks/MaxPool": True, "/peaks/Equal": False, "/peaks/Where": True, "/peaks/TopK": False}


class Exported(NamedTuple):
    """Result of ``export``.

    Attributes:
        path: The network's file.
        errors: Largest errors of the float32 network relative to the model.
        report: Effect of the lower precision, as text.
    """

    path: Path
    errors: dict[str, float]
    report: str


def export(
    config: str,
    checkpoint: str | None,
    work_dir: str | os.PathLike[str],
    options: ExportOptions,
    test_images: Sequence[str | os.PathLike[str] | np.ndarray] = (),
    cfg_options: Mapping[str, Any] | None = None,
) -> Exported:
    """Write ``end2end.onnx`` (``end2end.xml`` for OpenVINO's int8 and fp16, ``end2end.pt2`` for torch) and its sidecar.

    ``options.name`` replaces ``end2end``.

    Args:
        config: Config file.
        checkpoint: Weights; None leaves them random (for measuring speed).
        work_dir: Output folder.
        options: Options of the export.
        test_images: Photos on which the exported network must match the model; if empty, a drawn scene.
        cfg_options: Dotted keys and values that replace those of the config.

    Returns:
        The file, the largest errors of the float32 network relative to the model, and the effect of lower precision.

    Raises:
        DeployError: A check failed; nothing that looks finished is left behind.
        FileNotFoundError: A file is missing.
        ValueError: An option is invalid.
    """
    model = init_model(load_config(config, cfg_options, INFERENCE_PARTS), checkpoint)
    side = model.codec.input_size
    size_wh = options.input_wh or (side, side)
    network = DeployNetwork(model, options.layout, options.dtype, options.decode)
    if options.backend == "torch":
        name, content = (
            f"{options.name}.pt2",
            export_torch(network, size_wh, options.batch_size, options.dynamic_batch),
        )
    else:
        name, content = f"{options.name}.onnx", _checked_onnx(network, size_wh, options)
    shape = [options.batch_size, 3, size_wh[1], size_wh[0]]
    if options.layout == "NHWC":
        shape = [shape[0], *shape[2:], 3]
    folder = Path(work_dir)
    make_parent(folder / name)
    sidecar = Sidecar(
        name=Path(config).stem,
        backend=options.backend,
        precision="fp32",
        input={"name": INPUT_NAME, "shape": shape, "dtype": options.dtype, "layout": options.layout,
               "color": "BGR", "range": [0, 255], "dynamic_batch": options.dynamic_batch},
        outputs=output_shapes(network, size_wh, options.batch_size),
        codec={**_plain(model.cfg.codec), "mode": "fast"},
        decode=options.decode,
        phi=model.cfg.get("phi"),
        versions=versions(),
    )  # fmt: skip
    with ExitStack() as stack:
        tried = _partial_file(stack, folder / name, content)
        stack.callback(sidecar_path(tried.partial).unlink, missing_ok=True)
        sidecar.sha256 = {tried.partial.name: file_hash(tried.partial)}
        sidecar.write(tried.partial)
        backend = "torch" if options.backend == "torch" else "onnxruntime"
        errors = compare_with_model(tried.partial, backend, model, test_images)
        form = lower_precision(tried.partial, content, sidecar, options)
        sidecar.precision, sidecar.computed_in = form.precision, form.computed_in
        sidecar.sha256 = {name: hashlib.sha256(part).hexdigest() for name, part in form.files.items()}
        path = folder / next(iter(form.files))
        with written_together(path) as new:
            for name, part in form.files.items():
                (new / name).write_bytes(part)
            sidecar.write(new / path.name)
    return Exported(path, errors, form.report)


def _partial_file(stack: ExitStack, path: Path, content: bytes) -> PartialFile:
    """Write a file next to its final place; it is removed with the stack unless it is committed."""
    file = PartialFile(path)
    stack.callback(file.abort)
    with file.explained():
        file.create().write_bytes(content)
    return file


def _checked_onnx(network: DeployNetwork, size_wh: tuple[int, int], options: ExportOptions) -> bytes:
    content = export_onnx(network, size_wh, options.batch_size, options.dynamic_batch, options.opset)
    parsed = parity.check_model(content, options.opset)
    if options.for_tensorrt:
        parity.check_tensorrt_85(parsed)
    return content


def compare_with_model(
    path: str | os.PathLike[str], backend: str, model: Any, test_images: Sequence[Any] = (), **options: Any
) -> dict[str, float]:
    """Run an exported network and ``model`` on the same inputs; return the largest errors.

    Raises:
        DeployError: They differ by more than ``parity`` allows.
    """
    with PoseRuntime(path, backend, **options) as runtime:
        size_wh = runtime.sidecar.size_wh
        ours: list[Any] = []
        wanted: list[Maps] = []
        for image in test_images or [drawn_scene(model.codec.meta, size_wh)]:
            photo = image if isinstance(image, np.ndarray) else read_image(image)
            pixels, _ = runtime.prepare(photo)
            batch = np.repeat(pixels[None], runtime.sidecar.batch_size, axis=0)
            ours.append(runtime.run(batch).image(0))
            warp = letterbox_warp(photo.shape[1::-1], size_wh)
            wanted.append(torch_maps(model, warp_image(photo, warp, size_wh)).image(0))
        if runtime.sidecar.decode == "peaks":
            codec = CODECS.build({**runtime.sidecar.codec, "fill_missing": False})
            pairs = [(runtime.decode(peaks), codec.decode(maps)) for peaks, maps in zip(ours, wanted)]
            candidates = [torch_peaks(maps, runtime.codec) for maps in wanted]
            found = parity.check_peaks(ours, candidates, wanted, Path(path).name)
            return {**found, **parity.check_people(pairs, Path(path).name)}
        return parity.check_parity(ours, wanted, runtime.codec, Path(path).name)


def drawn_scene(meta: Any, size_wh: tuple[int, int]) -> np.ndarray:
    """Return an image of drawn people, (H, W, 3) uint8 BGR, or random colours if the skeleton cannot be drawn."""
    from ehrpose.datasets.synthetic.dataset import SyntheticPeople

    try:
        scenes = SyntheticPeople(meta, length=1, image_size=max(size_wh), num_people=(2, 3))
    except ValueError:
        small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
        return cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(scenes.get_data_info(0)["img"][: size_wh[1], : size_wh[0]])


def versions() -> dict[str, str]:
    """Return the versions of the packages involved in an export."""
    found = {"ehrpose": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for name in ("onnx", "onnxruntime", "openvino", "tensorrt"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            continue
    return found


def _plain(value: Any) -> Any:
    """Turn configs and tuples into types that survive a round trip through JSON."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def build_or_explain(path: Path, options: ExportOptions, workspace_mib: int = 1024) -> int:
    """Build the TensorRT engine of an exported network, or print the commands to build it on the device.

    Returns:
        Exit code: 0, or 2 if TensorRT is not installed.

    Raises:
        DeployError: TensorRT is installed and fails.
    """
    from ehrpose.deploy.build_engine import build_engine
    from ehrpose.deploy.tensorrt.engine_info import BuildOptions, commands

    batch = options.batch_size if options.dynamic_batch else None
    build = BuildOptions(options.precision, options.backend, workspace_mib, max_batch=batch)
    try:
        __import__(options.backend)
    except ImportError:
        typed = options.typed or options.backend == "tensorrt_rtx"
        layers = None if typed else PEAK_LAYERS if options.decode == "peaks" else {}
        shape = (INPUT_NAME, read_sidecar(path).input["shape"])
        ours, theirs = commands(path.name, options=build, input_shape=shape, float_layers=layers)
        print(
            f"{options.backend} is not installed here; engines are built on the device that runs them. Copy "
            f"{path} and {path.name}.json there, and run in their folder:\n  {ours}\n"
            f"or, with TensorRT's own tool:\n  {theirs}"
        )
        return 2
    print(f"engine: {build_engine(path, options=build)}")
    return 0
