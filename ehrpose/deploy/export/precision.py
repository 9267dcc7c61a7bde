"""Lower-precision forms of an exported network, each measured against the float32 one."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ehrpose.deploy.export import parity
from ehrpose.deploy.export.quantization import (
    QuantizationReport,
    calibration_batches,
    compressed_openvino,
    float16_onnx,
    quantize_onnx,
    quantize_openvino,
    relative_error,
)
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, Sidecar, file_hash

if TYPE_CHECKING:
    from ehrpose.deploy.export.options import ExportOptions

# A form whose maps are off by more than their own spread finds nothing.
MAX_FORM_ERROR = 1.0


@dataclass(frozen=True)
class Form:
    """Files of a network, the one to load first; its precision; a report of what was measured.

    ``computed_in`` is what the backend really computed in, None if it was not measured.
    """

    files: dict[str, bytes]
    precision: str
    report: str
    computed_in: str | None = None


def lower_precision(path: Path, content: bytes, sidecar: Sidecar, options: ExportOptions) -> Form:
    """Return the form of a float32 ONNX network that ``options`` ask for.

    Args:
        path: The float32 network, with its sidecar.
        content: The same as bytes.
        sidecar: Its sidecar.
        options: Backend and precision.

    Raises:
        DeployError: A package is missing, or the result is not usable.
        FileNotFoundError: There are no calibration photos.
    """
    name = f"{options.name}{path.suffix}"
    if options.precision == "int8":
        return _int8(path, sidecar, options)
    if options.precision == "bf16":
        # The arithmetic is chosen when the network is loaded; the file is the same.
        form = Form({name: content}, "bf16", "bfloat16 arithmetic, chosen when it is loaded")
        return _measured(form, path, sidecar, options.backend)
    if options.precision == "fp16" and options.backend == "openvino":
        form = Form(
            compressed_openvino(path, options.name), "fp16", "float16 weights; arithmetic as the CPU supports"
        )
        return _measured(form, path, sidecar, options.backend)
    if options.precision == "fp16" and (options.typed or options.backend == "tensorrt_rtx"):
        form = Form({name: float16_onnx(content)}, "fp16", "float16 in the file")
        return _measured(form, path, sidecar, "onnxruntime")
    form = Form({name: content}, "fp32", "")
    if options.backend != "openvino":
        return form
    return _measured(replace(form, report="float32"), path, sidecar, options.backend)


def _measured(form: Form, path: Path, sidecar: Sidecar, backend: str) -> Form:
    """Return the form with the error of its maps in its report; if its backend is missing, the report says so."""
    try:
        error, used = _error_of(path, sidecar, form.files, backend, _noise(sidecar), form.precision)
    except DeployError as problem:
        if "not installed" not in str(problem):
            raise
        return replace(form, report=f"{form.report}; not measured: {problem}")
    report = f"{form.report}: maps off by {error:.2g} of their spread, computed in {used} on this machine"
    return replace(form, report=report, computed_in=used)


def _int8(path: Path, sidecar: Sidecar, options: ExportOptions) -> Form:
    assert options.calib_data is not None
    with PoseRuntime(path, "onnxruntime") as runtime:
        batches, bad = calibration_batches(runtime, options.calib_data, options.max_calib_images)
    if options.backend != "openvino":
        content, report = quantize_onnx(path, batches, options.for_tensorrt, bad, options.half_range)
        if options.for_tensorrt:
            parity.check_tensorrt_85(parity.check_model(content, options.opset))
        return Form({f"{options.name}.onnx": content}, "int8", _checked(report).describe())
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"{options.name}.xml"
        quantize_openvino(path, batches, target, options.half_range)
        files = {part.name: part.read_bytes() for part in (target, target.with_suffix(".bin"))}
    measured = np.concatenate(batches[-6:])
    error, used = _error_of(path, sidecar, files, "openvino", measured, "int8")
    number = sum(len(batch) for batch in batches)
    text = _checked(QuantizationReport(number, bad, {}, (), error)).describe()
    return Form(files, "int8", f"{text}, computed in {used} on this machine", used)


def _checked(report: QuantizationReport) -> QuantizationReport:
    if not report.error <= MAX_FORM_ERROR:
        raise DeployError(
            f"int8 changes the maps by {report.error:.2g} of their spread, at most {MAX_FORM_ERROR:g} is allowed: "
            "calibrate on more images, or use a float precision"
        )
    return report


def _noise(sidecar: Sidecar) -> np.ndarray:
    shape = [4 * sidecar.batch_size, *sidecar.input["shape"][1:]]
    return np.random.default_rng(0).integers(0, 256, shape).astype(sidecar.input["dtype"])


def _error_of(
    path: Path, sidecar: Sidecar, files: dict[str, bytes], backend: str, images: np.ndarray, precision: str
) -> tuple[float, str]:
    """Return the error of a form's worst output relative to the float32 network, as a fraction of its spread.

    The second value is what the backend really computes in.
    """
    size = sidecar.batch_size
    parts = [images[i : i + size] for i in range(0, len(images) - size + 1, size)]
    exact_backend = "torch" if path.suffix == ".pt2" else "onnxruntime"
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        target = Path(folder) / next(iter(files))
        copied = Sidecar(**{**vars(sidecar), "precision": precision})
        copied.sha256 = {name: file_hash(Path(folder) / name) for name in files}
        copied.write(target)
        exact = PoseRuntime(path, exact_backend, trust_pt2=True)  # written a moment ago
        with exact, PoseRuntime(target, backend, trust_pt2=True) as form:
            found, wanted = ([list(r.backend.run(part).values()) for part in parts] for r in (form, exact))
            used = form.backend.used_precision
    return relative_error(found, wanted), used
