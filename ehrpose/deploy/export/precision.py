"""Lower-precision forms of an exported network, each measured against the float32 one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ehrpose.deploy.export import parity
from ehrpose.deploy.export.converters import Source, convert
from ehrpose.deploy.export.float16 import float16_onnx
from ehrpose.deploy.export.openvino_files import compressed_openvino, quantize_openvino
from ehrpose.deploy.export.quantization import (
    NUM_MEASURED,
    QuantizationReport,
    batched,
    calibration_images,
    quantize_onnx,
    relative_error,
)
from ehrpose.deploy.network_input import batch_wh
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError, MissingEngineError, Sidecar, file_hash
from ehrpose.files import temporary_folder
from ehrpose.structures import People

if TYPE_CHECKING:
    from ehrpose.deploy.export.options import ExportOptions

# A form whose maps are off by more than their own spread finds nothing.
MAX_FORM_ERROR = 1.0
# Fraction of the people that differ: above the first the report warns, above the second photos of the user's refuse the
# form. bfloat16 changes 1 % of ehrnet-small's people on COCO's photos; 6 % cost 0.02 AP. Fewer people may be chance.
WARN_CHANGE, MAX_CHANGE, LEAST_DIFFERENT = 0.04, 0.5, 3


@dataclass(frozen=True)
class Form:
    """Files of a network, the one to load first; its precision; a report of what was measured.

    ``computed_in`` is what the backend really computed in, None if it was not measured.
    """

    files: dict[str, bytes]
    precision: str
    report: str
    computed_in: str | None = None


@dataclass(frozen=True)
class Samples:
    """Images on which the people of a form are compared with those of the float32 network.

    Attributes:
        images: The network's input for each image, without the batch axis.
        given: They are the user's, so that the form may be refused for what it does to them.
    """

    images: Sequence[np.ndarray]
    given: bool


def lower_precision(
    path: Path, content: bytes, sidecar: Sidecar, options: ExportOptions, samples: Samples
) -> Form:
    """Return the form of a float32 ONNX network that ``options`` ask for.

    Args:
        path: The float32 network, with its sidecar.
        content: The same as bytes.
        sidecar: Its sidecar.
        options: Backend and precision.
        samples: To compare people on; the photos in ``options.calib_data`` are used instead if it is given.

    Raises:
        DeployError: A package is missing, or the result is not usable.
        FileNotFoundError: There are no calibration photos.
    """
    name = f"{options.name}{path.suffix}"
    if options.info.converter:
        return _converted(path, sidecar, options, samples)
    if options.precision == "int8":
        return _int8(path, sidecar, options)
    if options.calib_data is not None:
        with PoseRuntime(path, _exact_backend(path), trust_pt2=True) as runtime:  # written a moment ago
            images, _ = calibration_images(runtime, options.calib_data, options.max_calib_images)
        samples = Samples(images, given=True)
    if options.precision == "bf16":
        # The arithmetic is chosen when the network is loaded; the file is the same.
        form = Form({name: content}, "bf16", "bfloat16 arithmetic, chosen when it is loaded")
        return _measured(form, path, sidecar, options.backend, samples)
    if options.precision == "fp16" and options.backend == "openvino":
        form = Form(
            compressed_openvino(path, options.name), "fp16", "float16 weights; arithmetic as the CPU supports"
        )
        return _measured(form, path, sidecar, options.backend, samples)
    if options.precision == "fp16" and (options.typed or options.backend == "tensorrt_rtx"):
        form = Form({name: float16_onnx(content)}, "fp16", "float16 in the file")
        return _measured(form, path, sidecar, "onnxruntime", samples)
    form = Form({name: content}, "fp32", "")
    if options.backend != "openvino":
        return form
    return _measured(replace(form, report="float32"), path, sidecar, options.backend, samples)


def _converted(path: Path, sidecar: Sidecar, options: ExportOptions, samples: Samples) -> Form:
    """Return the form in an engine's own files."""
    info = options.info
    images: list[np.ndarray] = []
    if options.calib_data is not None:
        with PoseRuntime(path, _exact_backend(path), trust_pt2=True) as runtime:  # written a moment ago
            images, _ = calibration_images(runtime, options.calib_data, options.max_calib_images)
        samples = Samples(images, given=True)
    calibration = images if options.precision == "int8" else ()
    source = Source(path, sidecar, options.name, options.precision, calibration, options.chip)
    form = Form(convert(options.backend, source), options.precision, info.precisions[options.precision])
    # Noise is far from what int8 was calibrated on.
    batches = batched(calibration, sidecar.batch_size)[-NUM_MEASURED:] if calibration else None
    form = _measured(form, path, sidecar, options.backend, samples, batches)
    if form.computed_in is not None:
        return form
    return replace(form, report=f"{form.report}; the errors are those of the network before its conversion")


def _measured(
    form: Form,
    path: Path,
    sidecar: Sidecar,
    backend: str,
    samples: Samples,
    batches: Sequence[np.ndarray] | None = None,
) -> Form:
    """Return the form with its effect on maps and people in its report; if its backend is missing, the report says so.

    Candidates are judged by the people only: their order and their neighbours change with any rounding.

    Raises:
        DeployError: The maps of ``batches`` (None: of noise, not judged) are nothing like the float32 network's.
    """
    try:
        error, change, used = _effect_of(
            path, sidecar, form.files, backend, form.precision, samples.images, batches
        )
    except MissingEngineError as problem:
        return replace(form, report=f"{form.report}; not measured: {problem}")
    maps = "" if sidecar.decode == "peaks" else f"maps off by {error:.2g} of their spread, "
    if batches is not None and sidecar.decode == "none":
        _checked(QuantizationReport(len(samples.images), (), {}, (), error))
    report = (
        f"{form.report}: {maps}{_judged(change, form.precision, samples)}, computed in {used} on this machine"
    )
    return replace(form, report=report, computed_in=used)


def _judged(change: parity.PeopleChange, precision: str, samples: Samples) -> str:
    """Return the change of the people as text.

    Raises:
        DeployError: Most people in the user's photos differ in bfloat16 or float16.
    """
    text, different = change.describe(), change.missing + change.added
    if different < LEAST_DIFFERENT or change.share <= WARN_CHANGE:
        return text
    # int8 always has photos, even for random weights; it is refused for what it does to the maps.
    if samples.given and precision != "int8" and change.share > MAX_CHANGE:
        raise DeployError(
            f"{precision} changes the people too much ({text}): at most {MAX_CHANGE:.0%} of them may differ from those "
            "in float32; use another precision"
        )
    # The people that networks find in drawings differ easily.
    advice = (
        "measure the AP before you use it" if samples.given else "give photos with `calib_data` to be sure"
    )
    return f"{text} (warning: {change.share:.0%} differ, more than {WARN_CHANGE:.0%}; {advice})"


def _int8(path: Path, sidecar: Sidecar, options: ExportOptions) -> Form:
    assert options.calib_data is not None
    with PoseRuntime(path, "onnxruntime") as runtime:
        images, bad = calibration_images(runtime, options.calib_data, options.max_calib_images)
    batches = batched(images, sidecar.batch_size)
    samples = Samples(images, given=True)
    if options.backend != "openvino":
        content, report = quantize_onnx(path, batches, options.for_tensorrt, bad, options.half_range)
        if options.for_tensorrt:
            parity.check_tensorrt_85(parity.check_model(content, options.opset))
        files = {f"{options.name}.onnx": content}
        change = _effect_of(path, sidecar, files, "onnxruntime", "int8", images)[1]
        return Form(files, "int8", f"{_checked(report).describe()}\n{_judged(change, 'int8', samples)}")
    with temporary_folder() as folder:
        target = folder / f"{options.name}.xml"
        quantize_openvino(path, batches, target, options.half_range)
        files = {part.name: part.read_bytes() for part in (target, target.with_suffix(".bin"))}
    error, change, used = _effect_of(
        path, sidecar, files, "openvino", "int8", images, batches[-NUM_MEASURED:]
    )
    text = _checked(QuantizationReport(len(images), bad, {}, (), error)).describe()
    return Form(
        files, "int8", f"{text}\n{_judged(change, 'int8', samples)}, computed in {used} on this machine", used
    )


def _checked(report: QuantizationReport) -> QuantizationReport:
    if not report.error <= MAX_FORM_ERROR:
        raise DeployError(
            f"int8 changes the maps by {report.error:.2g} of their spread, at most {MAX_FORM_ERROR:g} is allowed: "
            "calibrate on more images, or use a float precision"
        )
    return report


def _noise(sidecar: Sidecar) -> list[np.ndarray]:
    rng, shape = np.random.default_rng(0), sidecar.input["shape"]
    return [rng.integers(0, 256, shape).astype(sidecar.input["dtype"]) for _ in range(4)]


def _exact_backend(path: Path) -> str:
    return "torch" if path.suffix == ".pt2" else "onnxruntime"


def _effect_of(
    path: Path,
    sidecar: Sidecar,
    files: dict[str, bytes],
    backend: str,
    precision: str,
    images: Sequence[np.ndarray],
    batches: Sequence[np.ndarray] | None = None,
) -> tuple[float, parity.PeopleChange, str]:
    """Compare a form with the float32 network.

    Args:
        path: The float32 network.
        sidecar: Its sidecar.
        files: Those of the form, the one to load first.
        backend: Runs the form.
        precision: That of the form.
        images: Inputs to compare people on.
        batches: Batches to compare outputs on; None: noise.

    Returns:
        The error of the worst output as a fraction of its spread, the change of the people, and what the backend really
        computes in.
    """
    batches = _noise(sidecar) if batches is None else batches
    with temporary_folder() as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        target = folder / next(iter(files))
        copied = Sidecar(**{**vars(sidecar), "precision": precision})
        copied.sha256 = {name: file_hash(folder / name) for name in files}
        copied.write(target)
        exact = PoseRuntime(path, _exact_backend(path), trust_pt2=True)  # written a moment ago
        with exact, PoseRuntime(target, backend, trust_pt2=True) as form:
            found, wanted = ([list(r.backend.run(part).values()) for part in batches] for r in (form, exact))
            pairs = list(zip(_people_of(form, images), _people_of(exact, images)))
            used = form.backend.used_precision
    return relative_error(found, wanted), parity.change_of_people(pairs, sidecar.size_wh), used


def _people_of(runtime: PoseRuntime, images: Sequence[np.ndarray]) -> list[People]:
    """Return the people of each image, input px."""
    found = []
    for image in images:
        batch = np.repeat(image[None], runtime.sidecar.batch_size, axis=0)
        found.append(runtime.decode(runtime.run(batch).image(0), batch_wh(batch.shape, runtime.sidecar)))
    return found
