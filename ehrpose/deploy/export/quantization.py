"""Int8 forms of an exported network, calibrated on photos; parts that quantise badly, by measurement, stay in float.

Q/DQ form for ONNX Runtime and for TensorRT (symmetric, zero points 0, no quantised biases, which is all that TensorRT
supports); NNCF's form for OpenVINO. Ranges are calibrated once; then each part of the network (stem, a stage, a module
of the neck, the head) is quantised alone, and its effect on the maps is measured.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ehrpose.counted import counted
from ehrpose.deploy.export.openvino_files import save_openvino
from ehrpose.deploy.export.parity import same_candidates
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import INPUT_NAME, DeployError
from ehrpose.deploy.signal_stack import kept_signal_stack
from ehrpose.files import temporary_folder
from ehrpose.image_io import ImageReadError, read_image
from ehrpose.media.inputs import list_images
from ehrpose.structures import PeakMaps

# Parts whose quantisation alone changes the maps by more than this fraction of their spread stay in float.
MAX_PART_ERROR = 0.05
# Calibration batches to measure with; ranges come from all.
NUM_MEASURED = 6
_KINDS = ["Conv", "ConvTranspose", "Add", "MaxPool", "GlobalAveragePool"]
_PART = re.compile(
    r"^/?(normalise|backbone/stem|backbone/stages\.\d+|neck/\w+\.\d+|neck/\w+|head/\w+(?:\.\d+)?|head|peaks)"
)


@dataclass(frozen=True)
class QuantizationReport:
    """Result of a quantisation.

    Attributes:
        num_images: Number of calibration photos used.
        bad_images: Calibration photos that could not be read, with the reason.
        part_errors: Part of the network to the error from quantising it alone: root mean square of the difference
            over the standard deviation of the map, for the worst map.
        kept_float: Parts that stay in float.
        error: The same error for the whole network.
    """

    num_images: int
    bad_images: tuple[str, ...]
    part_errors: dict[str, float]
    kept_float: tuple[str, ...]
    error: float

    def describe(self) -> str:
        """Return the report as text."""
        lines = [
            f"calibrated on {counted(self.num_images, 'image')}, {len(self.bad_images)} could not be read"
        ]
        lines += [f"  {reason}" for reason in self.bad_images[:5]]
        if not self.part_errors:
            return "\n".join([*lines, f"maps off by {self.error:.4f} of their spread (rms)"])
        lines += ["error of the maps with one part quantised (rms error over spread):"]
        for part, error in sorted(self.part_errors.items(), key=lambda item: -item[1]):
            lines.append(f"  {part:<24}{error:8.4f}{'   kept in float' if part in self.kept_float else ''}")
        return "\n".join([*lines, f"  {'all but those':<24}{self.error:8.4f}"])


def calibration_images(
    runtime: PoseRuntime, source: str | os.PathLike[str], max_images: int = 64
) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Return the network's input for each of the photos in a folder, and why some could not be read.

    Raises:
        FileNotFoundError: There are no photos.
        DeployError: None of them can be read.
    """
    paths = list_images(str(source))
    # Spread over the folder, as its first photos may all show one scene.
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(max_images, len(paths))).astype(int)]
    images, bad = [], []
    for path in chosen:
        try:
            images.append(runtime.prepare(read_image(path))[0])
        except ImageReadError as error:
            bad.append(str(error))
    if not images:
        raise DeployError(f"none of the calibration images in {source} can be read, e.g. {bad[0]}")
    return images, tuple(bad)


def batched(images: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    """Return batches of the images, each of one shape; the last image of a shape fills up its last batch.

    In a drawn order, so that the last batches, which are measured, have all shapes.
    """
    by_shape: dict[tuple[int, ...], list[np.ndarray]] = {}
    for image in images:
        by_shape.setdefault(image.shape, []).append(image)
    batches = []
    for alike in by_shape.values():
        padded = [*alike, *[alike[-1]] * (-len(alike) % size)]
        batches += [np.stack(padded[i : i + size]) for i in range(0, len(padded), size)]
    return [batches[i] for i in np.random.default_rng(0).permutation(len(batches))]


def quantize_onnx(
    path: Path,
    batches: Sequence[np.ndarray],
    symmetric: bool,
    bad_images: Sequence[str] = (),
    half_range: bool = False,
) -> tuple[bytes, QuantizationReport]:
    """Return an int8 form of an ONNX file, and a report of its error.

    Args:
        path: The float32 network.
        batches: Calibration batches.
        symmetric: The form that TensorRT supports; otherwise the one that is fast in ONNX Runtime on CPUs.
        bad_images: Unreadable photos, for the report.
        half_range: 7-bit weights, see ``ExportOptions``.

    Raises:
        DeployError: onnxruntime's quantiser is missing or fails.
    """
    try:
        import onnx
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise DeployError(
            f"int8 needs onnx and onnxruntime: pip install onnx onnxruntime ({error})"
        ) from error
    with temporary_folder() as folder:
        prepared = folder / "prepared.onnx"
        quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
        ranges = _ranges(prepared, batches, folder / "augmented.onnx", symmetric)
        graph = onnx.load(str(prepared))
        measured = batches[-NUM_MEASURED:]
        wanted = [_outputs(graph.SerializeToString(), [batch])[0] for batch in measured]

        def quantized(excluded: Iterable[str]) -> bytes:
            return _quantized(onnx.load(str(prepared)), ranges, symmetric, list(excluded), half_range)

        def error_of(content: bytes) -> float:
            return relative_error(_outputs(content, measured), wanted)

        parts = _parts(graph)
        everything = [name for names in parts.values() for name in names]
        errors = {
            part: error_of(quantized(name for name in everything if name not in set(names)))
            for part, names in parts.items()
        }
        kept = tuple(part for part, error in errors.items() if error > MAX_PART_ERROR)
        content = quantized(name for part in kept for name in parts[part])
        report = QuantizationReport(
            sum(len(batch) for batch in batches), tuple(bad_images), errors, kept, error_of(content)
        )
    return content, report


def _parts(graph: Any) -> dict[str, list[str]]:
    """Return the names of the quantisable nodes by part of the network."""
    parts: dict[str, list[str]] = {}
    for node in graph.graph.node:
        if node.op_type in _KINDS:
            found = _PART.match(node.name)
            parts.setdefault(found.group(1) if found else "others", []).append(node.name)
    return parts


def _ranges(prepared: Path, batches: Sequence[np.ndarray], augmented: Path, symmetric: bool) -> Any:
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.items: Iterator[np.ndarray] = iter(batches)

        def get_next(self) -> Any:
            batch = next(self.items, None)
            return None if batch is None else {INPUT_NAME: batch}

    calibrator = create_calibrator(
        prepared, _KINDS, augmented_model_path=str(augmented), calibrate_method=CalibrationMethod.MinMax,
        extra_options={"symmetric": symmetric},
    )  # fmt: skip
    calibrator.collect_data(Reader())
    return calibrator.compute_data()


def _quantized(model: Any, ranges: Any, symmetric: bool, excluded: list[str], half_range: bool) -> bytes:
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    options = {"ActivationSymmetric": symmetric, "WeightSymmetric": True}
    if symmetric:
        options.update(AddQDQPairToWeight=True, QuantizeBias=False)
    activation = QuantType.QInt8 if symmetric else QuantType.QUInt8
    quantizer = QDQQuantizer(
        model, True, half_range, QuantType.QInt8, activation, ranges, [], excluded, _KINDS, options
    )
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    result = quantizer.model.model
    used = {node.domain for node in result.graph.node}
    for item in [item for item in result.opset_import if item.domain not in used | {""}]:
        result.opset_import.remove(item)
    return bytes(result.SerializeToString())


def _outputs(content: bytes, batches: Sequence[np.ndarray]) -> list[list[np.ndarray]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return [session.run(None, {INPUT_NAME: batch}) for batch in batches]


def relative_error(found: Sequence[Sequence[np.ndarray]], wanted: Sequence[Sequence[np.ndarray]]) -> float:
    """Return the root mean square difference over the standard deviation, for the worst output.

    Args:
        found: The outputs, maps or candidates, of each batch.
        wanted: Those of the float32 network. What lies around candidates is compared where both have one at the same
            pixel.
    """
    worst = 0.0
    if [array.ndim for array in wanted[0]] == [3, 3, 4, 4, 5]:  # PeakMaps, with the batch axis
        pairs = [_at_same_pixels(PeakMaps(*a), PeakMaps(*b)) for a, b in zip(found, wanted)]
        found, wanted = [a for a, _ in pairs], [b for _, b in pairs]
    for ours, theirs in zip(zip(*found), zip(*wanted)):
        difference = np.concatenate([(a - b).ravel() for a, b in zip(ours, theirs)])
        if not difference.size:
            continue
        spread = np.concatenate([b.ravel() for b in theirs]).std()
        worst = max(
            worst, float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))) / max(spread, 1e-12))
        )
    return worst


def _at_same_pixels(ours: PeakMaps, wanted: PeakMaps) -> tuple[list[np.ndarray], list[np.ndarray]]:
    images, kinds, js, its = same_candidates(ours, wanted)

    def at(peaks: PeakMaps, ranks: np.ndarray) -> list[np.ndarray]:
        around = [peaks.peak_cross[images, kinds, ranks], peaks.peak_heat[images, kinds, ranks]]
        return [peaks.peak_scores, *around, peaks.peak_tags[images, :, kinds, ranks]]

    return at(ours, js), at(wanted, its)


def compressed_openvino(path: Path, name: str) -> dict[str, bytes]:
    """Convert an ONNX network to OpenVINO files with float16 weights: ``name``.xml and ``name``.bin.

    Raises:
        DeployError: OpenVINO is not installed.
    """
    try:
        import openvino
    except ImportError as error:
        raise DeployError(f"openvino is not installed ({error}): pip install openvino") from error
    with temporary_folder() as folder, kept_signal_stack():
        target = folder / f"{name}.xml"
        save_openvino(openvino.Core().read_model(str(path)), target, compress_to_fp16=True)
        return {part.name: part.read_bytes() for part in (target, target.with_suffix(".bin"))}


def quantize_openvino(
    path: Path, batches: Sequence[np.ndarray], target: Path, half_range: bool = False
) -> None:
    """Write an int8 OpenVINO network (``.xml`` and ``.bin``) from an ONNX file, using NNCF.

    Args:
        path: The float32 network.
        batches: Calibration batches.
        target: The ``.xml`` file.
        half_range: 7-bit weights, see ``ExportOptions``.

    Raises:
        DeployError: openvino or nncf is missing.
    """
    try:
        import nncf
        import openvino
    except ImportError as error:
        raise DeployError(f"int8 for OpenVINO needs nncf: pip install openvino nncf ({error})") from error
    network = openvino.Core().read_model(str(path))
    dataset = nncf.Dataset(list(batches), lambda batch: {INPUT_NAME: batch})
    # NNCF's default halves the range of the first layer only.
    overflow_fix = nncf.OverflowFix.ENABLE if half_range else nncf.OverflowFix.FIRST_LAYER
    quantized = nncf.quantize(
        network, dataset, subset_size=len(batches), preset=nncf.QuantizationPreset.MIXED,
        advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=overflow_fix),
    )  # fmt: skip
    save_openvino(quantized, target, compress_to_fp16=False)


def float16_onnx(content: bytes) -> bytes:
    """Return an ONNX network with float16 arithmetic and float32 inputs and outputs, for TensorRT from 11 on.

    The search for candidates stays in float32.

    Raises:
        DeployError: onnxruntime is missing.
    """
    try:
        import onnx
        from onnxruntime.quantization.onnx_model import ONNXModel
        from onnxruntime.transformers.float16 import convert_float_to_float16
    except ImportError as error:
        raise DeployError(
            f"fp16 needs onnx and onnxruntime: pip install onnx onnxruntime ({error})"
        ) from error
    model = onnx.load_from_string(content)
    peaks = [node.name for node in model.graph.node if node.name.startswith("/peaks/")]
    model = convert_float_to_float16(
        model, keep_io_types=True, op_block_list=["MaxPool"], node_block_list=peaks
    )
    _remove_round_trips(model.graph)
    ONNXModel(model).topological_sort()
    return bytes(model.SerializeToString())


def _remove_round_trips(graph: Any) -> None:
    """Connect float32 nodes directly where the conversion put float16 between them.

    A pixel is a candidate if it equals the maximum around it. ONNX Runtime leaves out some of these roundings, then no
    pixel does.
    """
    from onnx import TensorProto

    makers = {name: node for node in graph.node for name in node.output}
    kinds = {id(node): node.attribute[0].i for node in graph.node if node.op_type == "Cast"}
    for node in graph.node:
        for place, name in enumerate(node.input):
            second = makers.get(name)
            first = None if second is None else makers.get(second.input[0] if second.input else "")
            found = [kinds.get(id(cast)) for cast in (first, second)]
            if first is not None and found == [TensorProto.FLOAT16, TensorProto.FLOAT]:
                # Only the conversion casts to float16, and only what was float32.
                node.input[place] = first.input[0]
    number = -1
    while number != len(graph.node):  # one cast may have fed another
        number = len(graph.node)
        used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
        for node in [n for n in graph.node if n.op_type == "Cast" and n.output[0] not in used]:
            graph.node.remove(node)
