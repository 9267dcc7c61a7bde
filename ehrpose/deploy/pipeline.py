"""From a config and a checkpoint to files for a device: export, check, write; what ``tools/deploy.py`` does."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ehrpose.apis import init_model
from ehrpose.config import load_config
from ehrpose.deploy import checks
from ehrpose.deploy.export import DEFAULT_OPSET, DeployNetwork, export_onnx, output_shapes, torch_maps
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import INPUT_NAME, Sidecar, file_hash
from ehrpose.image_io import read_image
from ehrpose.image_warp import centred_warp, warp_image
from ehrpose.registry import CODECS
from ehrpose.structures import Maps
from ehrpose.version import __version__

BACKENDS = ("onnxruntime", "openvino", "tensorrt", "tensorrt_rtx")
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
ONNX_NAME = "end2end.onnx"


@dataclass(frozen=True)
class ExportOptions:
    """What is exported.

    Attributes:
        backend: One of BACKENDS.
        precision: One of PRECISIONS.
        input_wh: Width and height of the input, px; None: a square of the codec's input size.
        batch_size: Images at once.
        dynamic_batch: Any number of images at once.
        opset: Version of ONNX's operators.
        input_dtype: ``"uint8"`` or ``"float32"``; None: what the backend takes without a detour.
        layout: ``"NCHW"`` or ``"NHWC"``.
        decode: ``"none"`` or ``"peaks"``, see ``DeployNetwork``.
    """

    backend: str = "onnxruntime"
    precision: str = "fp32"
    input_wh: tuple[int, int] | None = None
    batch_size: int = 1
    dynamic_batch: bool = False
    opset: int = DEFAULT_OPSET
    input_dtype: str | None = None
    layout: str = "NCHW"
    decode: str = "none"

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS or self.precision not in PRECISIONS:
            raise ValueError(
                f"wanted a backend of {BACKENDS} and a precision of {PRECISIONS}, got {self.backend}, {self.precision}"
            )

    @property
    def for_tensorrt(self) -> bool:
        """Whether the file must suit TensorRT."""
        return self.backend.startswith("tensorrt")

    @property
    def dtype(self) -> str:
        """Type of the input."""
        return self.input_dtype or ("float32" if self.for_tensorrt else "uint8")


def export(
    config: str,
    checkpoint: str | None,
    work_dir: str | os.PathLike[str],
    options: ExportOptions,
    test_images: Sequence[str | os.PathLike[str] | np.ndarray] = (),
    cfg_options: Mapping[str, Any] | None = None,
) -> tuple[Path, dict[str, float]]:
    """Write ``end2end.onnx`` and its JSON, checked.

    Args:
        config: Config file.
        checkpoint: Weights; None leaves them random (for measuring speed).
        work_dir: Folder for the files.
        options: What is exported.
        test_images: Photos on which the file must give what the model gives; none: a drawn scene.
        cfg_options: Dotted keys and values that replace those of the config.

    Returns:
        The ONNX file, and its largest errors against the model.

    Raises:
        DeployError: A check failed; nothing is left that looks finished.
        FileNotFoundError: A file is missing.
        ValueError: An option does not fit.
    """
    model = init_model(load_config(config, cfg_options), checkpoint)
    side = model.codec.input_size
    size_wh = options.input_wh or (side, side)
    network = DeployNetwork(model, options.layout, options.dtype, options.decode)
    content = export_onnx(network, size_wh, options.batch_size, options.dynamic_batch, options.opset)
    parsed = checks.check_model(content, options.opset)
    if options.for_tensorrt:
        checks.check_tensorrt_85(parsed)
    shape = [options.batch_size, 3, size_wh[1], size_wh[0]]
    if options.layout == "NHWC":
        shape = [shape[0], *shape[2:], 3]
    folder = Path(work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    target, partial = folder / ONNX_NAME, folder / f".partial.{ONNX_NAME}"
    sidecar = Sidecar(
        name=Path(config).stem,
        backend=options.backend,
        precision="fp32",
        input={"name": INPUT_NAME, "shape": shape, "dtype": options.dtype, "layout": options.layout,
               "color": "BGR", "range": [0, 255], "dynamic_batch": options.dynamic_batch},
        outputs=output_shapes(network, size_wh, options.batch_size),
        codec={**_plain(model.cfg.codec), **({"mode": "fast"} if options.decode == "peaks" else {})},
        decode=options.decode,
        phi=model.cfg.get("phi"),
        versions=versions(),
    )  # fmt: skip
    try:
        partial.write_bytes(content)
        sidecar.sha256 = {partial.name: file_hash(partial)}
        sidecar.write(partial)
        errors = compare_with_model(partial, "onnxruntime", model, test_images)
        sidecar.sha256 = {target.name: sidecar.sha256[partial.name]}
        # The JSON first: an ONNX file that is there is a whole one.
        sidecar.write(target)
        os.replace(partial, target)
    finally:
        for leftover in (partial, Path(str(partial) + ".json")):
            leftover.unlink(missing_ok=True)
    return target, errors


def compare_with_model(
    path: str | os.PathLike[str], backend: str, model: Any, test_images: Sequence[Any] = (), **options: Any
) -> dict[str, float]:
    """Run an exported network and ``model`` on the same inputs; return the largest errors.

    Raises:
        DeployError: They differ by more than ``checks`` allows.
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
            scale = min(size_wh[0] / photo.shape[1], size_wh[1] / photo.shape[0])
            warp = centred_warp(photo.shape[1::-1], size_wh, scale)
            wanted.append(torch_maps(model, warp_image(photo, warp, size_wh)).image(0))
        if runtime.sidecar.decode == "peaks":
            codec = CODECS.build({**runtime.sidecar.codec, "fill_missing": False})
            pairs = [(runtime.decode(peaks), codec.decode(maps)) for peaks, maps in zip(ours, wanted)]
            return checks.check_people(pairs, Path(path).name)
        return checks.check_parity(ours, wanted, runtime.codec, Path(path).name)


def drawn_scene(meta: Any, size_wh: tuple[int, int]) -> np.ndarray:
    """Return a picture of drawn people, (H, W, 3) uint8 BGR; of colours only if the skeleton cannot be drawn."""
    from ehrpose.datasets.synthetic import SyntheticPeople

    try:
        scenes = SyntheticPeople(meta, length=1, image_size=max(size_wh), num_people=(2, 3))
    except ValueError:
        small = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
        return cv2.resize(small, size_wh, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(scenes.get_data_info(0)["img"][: size_wh[1], : size_wh[0]])


def versions() -> dict[str, str]:
    """Return the versions of what takes part in an export."""
    found = {"ehrpose": __version__, "python": platform.python_version(), "torch": torch.__version__}
    for name in ("onnx", "onnxruntime", "openvino", "tensorrt"):
        try:
            found[name] = __import__(name).__version__
        except ImportError:
            continue
    return found


def _plain(value: Any) -> Any:
    """Turn configs and tuples into what JSON gives back unchanged."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
