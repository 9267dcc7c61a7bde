"""LiteRT's file, by litert-torch from the ``.pt2`` program; int8 and float16 by ai-edge-quantizer."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ehrpose.deploy.backends.litert import signature_name
from ehrpose.deploy.export.converters import Source, missing_package, run_program
from ehrpose.deploy.network_input import batch_wh
from ehrpose.deploy.sidecar import INPUT_NAME, Sidecar
from ehrpose.files import temporary_folder

_PROGRAM, _RESULT, _IMAGES = "network.pt2", "network.tflite", "images.npz"


def convert(source: Source) -> dict[str, bytes]:
    """Return ``NAME.tflite``, with one signature for each shape; they share the weights."""
    if importlib.util.find_spec("litert_torch") is None:
        raise missing_package("litert", ImportError("No module named 'litert_torch'"))
    sidecar = source.sidecar
    shapes = {signature_name(size_wh): _shape(sidecar, size_wh) for size_wh in sidecar.shapes_wh}
    arguments = {
        "shapes": shapes,
        "dtype": sidecar.input["dtype"],
        "outputs": list(sidecar.outputs),
        "precision": source.precision,
    }
    with temporary_folder() as folder:
        (folder / _PROGRAM).write_bytes(source.path.read_bytes())
        if source.precision == "int8":
            images = {name: _calibration_images(source, shape) for name, shape in shapes.items()}
            np.savez(folder / _IMAGES, **images)  # type: ignore[arg-type]
        run_program("LiteRT", __name__, arguments, folder)
        return {f"{source.name}.tflite": (folder / _RESULT).read_bytes()}


def _shape(sidecar: Sidecar, size_wh: tuple[int, int]) -> list[int]:
    width, height = size_wh
    batch = 1 if sidecar.input["dynamic_batch"] else sidecar.batch_size
    return [batch, 3, height, width] if sidecar.input["layout"] == "NCHW" else [batch, height, width, 3]


def _calibration_images(source: Source, shape: list[int]) -> np.ndarray:
    """Return the images of ``shape``; if no photo has it, all others stretched to it."""
    fitting = [image for image in source.images if list(image.shape) == shape[1:]]
    if not fitting:
        size_wh = batch_wh(shape, source.sidecar)
        fitting = [_stretched(image, size_wh, source.sidecar.input["layout"]) for image in source.images]
    return np.stack(fitting)


def _stretched(image: np.ndarray, size_wh: tuple[int, int], layout: str) -> np.ndarray:
    if layout == "NHWC":
        return cv2.resize(image, size_wh)
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    return np.ascontiguousarray(cv2.resize(pixels, size_wh).transpose(2, 0, 1))


def main(folder: Path, arguments: Mapping[str, Any]) -> None:
    """Convert the program in ``folder``; runs in a process of its own."""
    import litert_torch
    import torch

    module = _named(torch.export.load(str(folder / _PROGRAM)).module(), arguments["outputs"])
    converter = litert_torch.Converter()
    for name, shape in arguments["shapes"].items():
        example = torch.zeros(shape, dtype=getattr(torch, arguments["dtype"]))
        converter.signature(name, module, sample_kwargs={INPUT_NAME: example})
    converter.convert().export(str(folder / _RESULT))
    if arguments["precision"] != "fp32":
        quantize(folder, arguments["precision"])


def _named(program: Any, outputs: list[str]) -> Any:
    """Return a module whose input and outputs have names, which the file keeps."""
    import torch

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.program = program

        def forward(self, input: torch.Tensor) -> dict[str, torch.Tensor]:  # the name is that of INPUT_NAME
            return dict(zip(outputs, self.program(input)))

    module = Named()
    for part in module.modules():
        part.training = False  # programs refuse eval()
    return module


def quantize(folder: Path, precision: str) -> None:
    """Replace the float32 file in ``folder`` by one with float16 weights, or in int8."""
    from ai_edge_quantizer import algorithm_manager, qtyping, quantizer

    path, names = folder / _RESULT, qtyping.TFLOperationName
    work = quantizer.Quantizer(str(path))
    if precision == "fp16":
        half = qtyping.TensorQuantizationConfig(num_bits=16, dtype=qtyping.TensorDataType.FLOAT)
        config = qtyping.OpQuantizationConfig(
            weight_tensor_config=half,
            compute_precision=qtyping.ComputePrecision.FLOAT,
            explicit_dequantize=True,
        )
        method = algorithm_manager.AlgorithmName.FLOAT_CASTING
        work.update_quantization_recipe(".*", names.ALL_SUPPORTED, config, method)
        result = work.quantize()
    else:
        # In int8 all through (sums, sigmoids and depthwise convolutions too) ehrnet-small's AP falls from 0.25 to 0.09.
        for name in (names.CONV_2D, names.CONV_2D_TRANSPOSE):
            work.add_static_config(".*", name, activation_num_bits=8, weight_num_bits=8)
        with np.load(folder / _IMAGES) as images:
            samples = {name: list(_samples(images[name], path, name)) for name in images.files}
        result = work.quantize(work.calibrate(samples))
    path.write_bytes(bytes(result.quantized_model))


def _samples(images: np.ndarray, path: Path, signature: str) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=str(path)).get_signature_runner(signature)
    batch = int(runner.get_input_details()[INPUT_NAME]["shape"][0])
    for image in images:
        yield {INPUT_NAME: np.repeat(image[None], batch, axis=0)}
