"""Exporting a classifier: as a pose network, with one output of size 1 x 1, its logits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ehrpose.deploy.classifier_runtime import ClassifierRuntime
from ehrpose.deploy.export import parity
from ehrpose.deploy.export.onnx import export_onnx, fold_batch_norms, normalisation
from ehrpose.deploy.export.openvino_files import compressed_openvino, quantize_openvino
from ehrpose.deploy.export.options import ExportOptions
from ehrpose.deploy.export.padded_conv import write_padding_into_convs
from ehrpose.deploy.export.quantization import batched, calibration_images, quantize_onnx
from ehrpose.deploy.sidecar import INPUT_NAME, DeployError, Sidecar, file_hash
from ehrpose.file_sets import written_together
from ehrpose.files import make_parent, temporary_folder

BACKENDS = ("onnxruntime", "openvino")
# Largest difference of a probability from the model's, in float32.
MAX_ERROR = 1e-3


class DeployClassifier(nn.Module):
    """Backbone and head of an ImageClassifier, from raw pixels to logits.

    Args:
        model: An ImageClassifier; copied, not changed.
        options: ``layout`` and ``dtype`` of the input.
    """

    names = ("logits",)
    side_offset = 0
    peaks = None

    def __init__(self, model: Any, options: ExportOptions):
        super().__init__()
        model = copy.deepcopy(model).eval().cpu().float()
        self.layout, self.dtype = options.layout, options.dtype
        self.normalise = normalisation(model.data_preprocessor)
        self.backbone, self.head = model.backbone, model.head
        self.backbone.side_multiple = 1  # a mean follows, of any size
        self.folded = fold_batch_norms(self)
        write_padding_into_convs(self)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the (B, C, 1, 1) logits of (B, 3, H, W) or (B, H, W, 3) images."""
        if self.layout == "NHWC":
            images = images.permute(0, 3, 1, 2)
        return (self.head(self.backbone(self.normalise(images.float()))[-1])[:, :, None, None],)


def export_classifier(
    model: Any,
    name: str,
    classes: Sequence[str],
    folder: Path,
    options: ExportOptions,
    versions: dict[str, str],
    photos: Sequence[Any] = (),
) -> tuple[Path, float, str]:
    """Write a classifier and its sidecar.

    Args:
        model: An ImageClassifier from ``init_model``, whose config's test says which part of a photo it sees.
        name: Name of its config.
        classes: Names of the classes; none where they are not known.
        folder: Output folder.
        options: Options of the export.
        versions: For the sidecar.
        photos: Photos on which the network must answer as the model does; if empty, drawn ones.

    Returns:
        The file; the largest difference of a probability in float32; and what the lower precision changes, as text.

    Raises:
        DeployError: The options are not for classifiers, or the network answers otherwise than the model.
    """
    _check(options)
    codec = {"type": "ClassScores", **_crop(model), "classes": list(classes)}
    side, photos = codec["input_size"], photos or _drawn()
    network = DeployClassifier(model, options)
    content = export_onnx(network, (side, side), options.batch_size, options.dynamic_batch, options.opset)
    parity.check_model(content, options.opset)
    shape = [options.batch_size, 3, side, side]
    if options.layout == "NHWC":
        shape = [shape[0], side, side, 3]
    sidecar = Sidecar(
        name=name,
        backend=options.backend,
        precision=options.precision,
        input={"name": INPUT_NAME, "shape": shape, "dtype": options.dtype, "layout": options.layout,
               "color": "BGR", "range": [0, 255], "dynamic_batch": options.dynamic_batch},
        outputs={"logits": [options.batch_size, model.head.num_classes, 1, 1]},
        codec=codec,
        phi=model.cfg.get("phi"),
        versions=versions,
    )  # fmt: skip
    make_parent(folder / options.name)
    with temporary_folder() as place:
        plain = place / f"{options.name}.onnx"
        plain.write_bytes(content)
        sidecar.sha256 = {plain.name: file_hash(plain)}
        sidecar.write(plain)
        error = _difference(plain, model, photos)
        files, report = _lowered(plain, sidecar, options, place)
        sidecar.sha256 = {path.name: file_hash(path) for path in files}
        target = folder / files[0].name
        with written_together(target) as new:
            for path in files:
                (new / path.name).write_bytes(path.read_bytes())
            sidecar.write(new / target.name)
    return target, error, report


def _check(options: ExportOptions) -> None:
    """Refuse what is not there for classifiers."""
    if options.backend not in BACKENDS:
        raise DeployError(
            f"`backend`: expected {' or '.join(BACKENDS)} for a classifier, got {options.backend}"
        )
    if options.decode != "none" or options.shapes_wh or options.input_wh is not None:
        raise DeployError(
            "a classifier has the one size of input of its config, and maps of no kind: leave out `input_size` and "
            "`decode`"
        )
    if options.precision == "bf16":
        raise DeployError("`precision`: expected fp32, fp16 or int8 for a classifier, got bf16")


def _crop(model: Any) -> dict[str, Any]:
    """Return size and share of the square that the config's test cuts out."""
    steps = model.cfg.test_dataloader.dataset.pipeline
    crop = next((step for step in steps if step["type"] == "CenterSquare"), None)
    if crop is None:
        raise DeployError("the config's test pipeline has no CenterSquare, which says what a classifier sees")
    return {"input_size": int(crop["size"]), "share": float(crop.get("share", 0.875))}


def _drawn() -> list[np.ndarray]:
    from ehrpose.datasets.classification import DrawnShapes

    shapes = DrawnShapes(length=4, image_size=160)
    return [shapes.get_data_info(index)["img"] for index in range(4)]


def _difference(path: Path, model: Any, photos: Sequence[Any]) -> float:
    """Return the largest difference of a probability between an exported float32 network and the model.

    Raises:
        DeployError: It is too large, or an answer is another one.
    """
    worst = 0.0
    with ClassifierRuntime(path, "onnxruntime") as runtime:
        for photo in photos:
            pixels, _ = runtime.prepare(photo)
            if runtime.sidecar.input["layout"] == "NHWC":
                pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
            inputs = model.data_preprocessor({"inputs": [torch.from_numpy(pixels)]})["inputs"]
            wanted = model.probabilities(inputs)[0].cpu().numpy()
            found = runtime.probabilities(photo)
            error = float(np.abs(found - wanted).max())
            worst = max(worst, error)
            if not error <= MAX_ERROR or found.argmax() != wanted.argmax():
                raise DeployError(
                    f"the exported network differs from the model by {error:.2g} in a probability, expected at most "
                    f"{MAX_ERROR:g} and the same class: please report this"
                )
    return worst


def _lowered(path: Path, sidecar: Sidecar, options: ExportOptions, place: Path) -> tuple[list[Path], str]:
    """Return the files of the form that is asked for, the one to load first, and what it changes."""
    if options.precision == "fp32":
        return [path], ""
    low = place / "low"
    low.mkdir()
    target = low / f"{options.name}.xml"
    images: Sequence[np.ndarray] = ()
    if options.precision == "fp16":
        for name, content in compressed_openvino(path, options.name).items():
            (low / name).write_bytes(content)
    else:
        with ClassifierRuntime(path, "onnxruntime") as runtime:
            images, bad = calibration_images(runtime, str(options.calib_data), options.max_calib_images)
        batches = batched(images, sidecar.batch_size)
        if options.backend == "openvino":
            quantize_openvino(path, batches, target, options.half_range)
        else:
            target = low / f"{options.name}.onnx"
            target.write_bytes(quantize_onnx(path, batches, False, bad, options.half_range)[0])
    files = [target, target.with_suffix(".bin")] if target.suffix == ".xml" else [target]
    sidecar.sha256 = {part.name: file_hash(part) for part in files}
    sidecar.write(target)
    return files, _changes(path, target, images) if images else ""


def _changes(path: Path, target: Path, images: Sequence[np.ndarray]) -> str:
    """Return how many calibration photos get another class than in float32."""
    with ClassifierRuntime(path, "onnxruntime") as plain, ClassifierRuntime(target) as low:
        answers = [
            [int(np.argmax(runtime.run(np.repeat(image[None], runtime.sidecar.batch_size, axis=0)).logits[0]))
             for image in images]
            for runtime in (plain, low)
        ]  # fmt: skip
    same = sum(a == b for a, b in zip(*answers))
    return (
        f"{low.sidecar.precision}: the same class as in float32 on {same} of {len(images)} calibration photos"
    )
