"""Exporting a model from a config and a checkpoint: export, check, write, as ``tools/deploy.py`` does."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch

from ehrpose.backend_table import BACKEND_TABLE
from ehrpose.config import INFERENCE_PARTS, load_config
from ehrpose.deploy.export import parity
from ehrpose.deploy.export.input_form import InputForm, input_form
from ehrpose.deploy.export.onnx import DeployNetwork, export_onnx, output_shapes, torch_maps, torch_peaks
from ehrpose.deploy.export.options import ExportOptions as ExportOptions
from ehrpose.deploy.export.precision import Samples, lower_precision
from ehrpose.deploy.export.torch_program import export_torch
from ehrpose.deploy.network_input import input_plan, prepare_image
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import (
    INPUT_NAME,
    DeployError,
    Sidecar,
    build_codec,
    file_hash,
    read_sidecar,
    sidecar_path,
)
from ehrpose.file_sets import written_together
from ehrpose.files import PartialFile, make_parent
from ehrpose.image_io import read_image
from ehrpose.image_warp import warp_image
from ehrpose.models.loading import class_names, init_model
from ehrpose.registry import CODECS
from ehrpose.version import __version__

__all__ = ["ExportOptions", "Exported", "export"]

# Layers that find candidates, which TensorRT must compute in float32, and whether all of their outputs are float.
PEAK_LAYERS = {"/peaks/MaxPool": True, "/peaks/Equal": False, "/peaks/Where": True, "/peaks/TopK": False}


class Exported(NamedTuple):
    """Result of ``export``.

    Attributes:
        path: The network's file.
        errors: Largest errors of the float32 network relative to the model.
        report: Effect of the lower precision, and what the file does otherwise than the config's test, as text.
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
    if hasattr(model, "probabilities"):
        return _classifier(model, Path(config).stem, checkpoint, Path(work_dir), options, test_images)
    form = input_form(model, options)
    size_wh, is_fixed = form.size_wh, not form.varying
    plain_convs = options.backend == "onnxruntime" and options.precision == "int8"
    network = DeployNetwork(model, options.layout, options.dtype, options.decode, plain_convs)
    if options.info.source == "pt2":
        name, content = (
            f"{options.name}.pt2",
            export_torch(network, size_wh, options.batch_size, options.dynamic_batch, not is_fixed),
        )
    else:
        name, content = f"{options.name}.onnx", _checked_onnx(network, form, options)
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
               "color": "BGR", "range": [0, 255], "dynamic_batch": options.dynamic_batch,
               **({"border": list(form.border)} if any(form.border) else {}), **form.varying},
        outputs=output_shapes(network, size_wh, options.batch_size),
        codec=_codec_config(model.cfg.codec),
        decode=options.decode,
        phi=model.cfg.get("phi"),
        versions=versions(options.backend),
    )  # fmt: skip
    with ExitStack() as stack:
        tried = _partial_file(stack, folder / name, content)
        stack.callback(sidecar_path(tried.partial).unlink, missing_ok=True)
        sidecar.sha256 = {tried.partial.name: file_hash(tried.partial)}
        sidecar.write(tried.partial)
        backend = "torch" if options.info.source == "pt2" else "onnxruntime"
        errors = compare_with_model(tried.partial, backend, model, test_images)
        samples = _samples(test_images, sidecar, model.codec.meta)
        lowered = lower_precision(tried.partial, content, sidecar, options, samples)
        sidecar.precision, sidecar.computed_in = lowered.precision, lowered.computed_in
        sidecar.sha256 = {name: hashlib.sha256(part).hexdigest() for name, part in lowered.files.items()}
        path = folder / next(iter(lowered.files))
        with written_together(path) as new:
            for name, part in lowered.files.items():
                (new / name).write_bytes(part)
            sidecar.write(new / path.name)
            if options.info.converter and lowered.precision == "fp32" and lowered.computed_in is not None:
                errors = compare_with_model(new / path.name, options.backend, model, test_images)
    notes = [lowered.report, *form.losses]
    return Exported(path, errors, "\n".join(note for note in notes if note))


def _classifier(
    model: Any, name: str, checkpoint: str | None, folder: Path, options: ExportOptions, photos: Sequence[Any]
) -> Exported:
    from ehrpose.deploy.export.classifier import export_classifier

    classes = () if checkpoint is None else class_names(checkpoint)
    path, error, report = export_classifier(model, name, classes, folder, options, versions(), photos)
    return Exported(path, {"score_error": error}, report)


def _partial_file(stack: ExitStack, path: Path, content: bytes) -> PartialFile:
    """Write a file next to its final place; it is removed with the stack unless it is committed."""
    file = PartialFile(path)
    stack.callback(file.abort)
    with file.explained():
        file.create().write_bytes(content)
    return file


def _checked_onnx(network: DeployNetwork, form: InputForm, options: ExportOptions) -> bytes:
    content = export_onnx(
        network, form.size_wh, options.batch_size, options.dynamic_batch, options.opset, bool(form.varying)
    )
    parsed = parity.check_model(content, options.opset)
    if options.for_tensorrt:
        parity.check_tensorrt_85(parsed)
    return content


def compare_with_model(
    path: str | os.PathLike[str], backend: str, model: Any, test_images: Sequence[Any] = (), **options: Any
) -> dict[str, float]:
    """Run an exported network, which is trusted, and ``model`` on the same inputs; return the largest errors.

    Raises:
        DeployError: They differ by more than ``parity`` allows.
    """
    given = list(test_images)
    with PoseRuntime(path, backend, trust_pt2=True, **options) as runtime:
        sidecar = runtime.sidecar
        images = given or [drawn_scene(model.codec.meta, size_wh) for size_wh in _tried_sizes(sidecar)]
        ours: list[Any] = []
        wanted: list[Any] = []
        sizes_wh = []
        for image in images:
            photo = image if isinstance(image, np.ndarray) else read_image(image)
            pixels, _ = runtime.prepare(photo)
            ours.append(runtime.run(np.repeat(pixels[None], sidecar.batch_size, axis=0)).image(0))
            size_wh, warp = input_plan(photo.shape[1::-1], sidecar)
            wanted.append(torch_maps(model, warp_image(photo, warp, size_wh, sidecar.border)).image(0))
            sizes_wh.append(size_wh)
        # Drawn scenes of further sizes only show whether the maps follow the size.
        count = len(given) or 1
        if sidecar.decode == "peaks":
            codec = build_codec(sidecar, path, runtime.codec.peaks_options)
            pairs = [
                (runtime.decode(peaks, size_wh), codec.decode(maps))
                for peaks, maps, size_wh in zip(ours[:count], wanted, sizes_wh)
            ]
            candidates = [torch_peaks(maps, runtime.codec) for maps in wanted]
            found = parity.check_peaks(ours, candidates, wanted, Path(path).name)
            return {**found, **parity.check_people(pairs, Path(path).name)}
        return parity.check_parity(ours, wanted, runtime.codec, Path(path).name, count)


def _tried_sizes(sidecar: Sidecar) -> list[tuple[int, int]]:
    """Return the sizes, px, of the scenes on which an exported network is checked if there are no photos."""
    width, height = sidecar.size_wh
    # Upright too, and one in which a size taken for a constant, or height for width, would show.
    return sidecar.shapes_wh or [(width, height), (height, width), (2 * width, height)]


def _samples(test_images: Sequence[Any], sidecar: Sidecar, meta: Any) -> Samples:
    """Return the inputs on which a form of lower precision is compared with the float32 network."""
    photos = test_images or [drawn_scene(meta, sidecar.size_wh)]
    return Samples([prepare_image(photo, sidecar)[0] for photo in photos], given=bool(test_images))


def drawn_scene(meta: Any, size_wh: tuple[int, int]) -> np.ndarray:
    """Return an image of drawn people, (H, W, 3) uint8 BGR, or random colours if the skeleton cannot be drawn."""
    from ehrpose.datasets.synthetic.dataset import SyntheticPeople

    try:
        # To serialise data, MMEngine first collects garbage, which takes longer than drawing.
        scenes = SyntheticPeople(
            meta, length=1, image_size=max(size_wh), num_people=(2, 3), serialize_data=False
        )
    except ValueError:
        small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
        return cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(scenes.get_data_info(0)["img"][: size_wh[1], : size_wh[0]])


def versions(backend: str = "onnxruntime") -> dict[str, str]:
    """Return the versions of the packages involved in an export for ``backend``."""
    found = {"ehrpose": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for name in ("onnx", "onnxruntime", "openvino", "tensorrt"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            continue
    info = BACKEND_TABLE[backend]
    for name in (*info.packages, *info.export_packages):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.setdefault(name, metadata.version(name))
    return found


def _codec_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the config of a codec with the name that it is registered by, the only one that a sidecar may hold."""
    kind = config["type"]
    if isinstance(kind, str) and kind not in CODECS.module_dict:
        kind = CODECS.get(kind)
    names = [name for name, codec in CODECS.module_dict.items() if kind in (name, codec)]
    if not names:
        raise DeployError(
            f"expected a codec that is registered in CODECS, got {config['type']}: put @CODECS.register_module() above "
            "its class"
        )
    mode = {"mode": "fast"} if "mode" in inspect.signature(CODECS.get(names[0])).parameters else {}
    return {**_plain(config), "type": names[0], **mode}


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
        sidecar = read_sidecar(path)
        several = len(sidecar.shapes_wh) > 1
        shape = (INPUT_NAME, sidecar.input["shape"])
        ours, theirs = commands(
            path.name, options=build, input_shape=shape, float_layers=layers, several_shapes=several
        )
        print(
            f"{options.backend} is not installed here; engines are built on the device that runs them. Copy "
            f"{path} and {path.name}.json there, and run in their folder:\n  {ours}"
            + (f"\nor, with TensorRT's own tool:\n  {theirs}" if theirs else "")
        )
        return 2
    print(f"engine: {build_engine(path, options=build)}")
    return 0
