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
from ehrpose.deploy.export.parity import same_candidates
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import INPUT_NAME, DeployError
from ehrpose.files import temporary_folder
from ehrpose.image_io import ImageReadError, read_image
from ehrpose.media.inputs import list_images
from ehrpose.structures import PeakMaps

# Parts whose quantisation alone changes the maps by more than this fraction of their spread stay in float.
MAX_PART_ERROR = 0.05
# Calibration batches to measure with; ranges come from all.
NUM_MEASURED = 6
_KINDS = ["Conv", "ConvTranspose", "Add", "MaxPool", "GlobalAveragePool"]
# What passes int8 on where a transposed convolution was; TensorRT keeps transposed ones.
_PLAIN_KINDS = [*_KINDS, "Concat", "DepthToSpace"]
# Parts that int8 does not make faster in ONNX Runtime: of few input channels, and the smoothing of the heatmaps.
_SLOW_PARTS = re.compile(r"normalise|backbone/stem|head/heat\d")
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
        unmeasured = [part for part in self.kept_float if part not in self.part_errors]
        lines += [f"  {part:<24}          kept in float: no faster in int8" for part in unmeasured]
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
        slow = () if symmetric else tuple(part for part in parts if _is_slow(part, graph))
        errors = {
            part: error_of(quantized(name for name in everything if name not in set(names)))
            for part, names in parts.items()
            if part not in slow
        }
        kept = (*slow, *(part for part, error in errors.items() if error > MAX_PART_ERROR))
        content = quantized(name for part in kept for name in parts[part])
        report = QuantizationReport(
            sum(len(batch) for batch in batches), tuple(bad_images), errors, kept, error_of(content)
        )
    return content, report


def _is_slow(part: str, graph: Any) -> bool:
    """Whether ONNX Runtime runs a part in float32 at least as fast as in int8.

    It has no int8 form of SiLU: each would be computed in float32 between two conversions, unfused.
    """
    if _SLOW_PARTS.fullmatch(part):
        return True
    return any(node.op_type == "Sigmoid" and _part_of(node) == part for node in graph.graph.node)


def _part_of(node: Any) -> str:
    found = _PART.match(node.name)
    return found.group(1) if found else "others"


def _parts(graph: Any) -> dict[str, list[str]]:
    """Return the names of the quantisable nodes by part of the network."""
    parts: dict[str, list[str]] = {}
    for node in graph.graph.node:
        if node.op_type in _PLAIN_KINDS:
            parts.setdefault(_part_of(node), []).append(node.name)
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
        prepared, _KINDS if symmetric else _PLAIN_KINDS, augmented_model_path=str(augmented),
        calibrate_method=CalibrationMethod.MinMax, extra_options={"symmetric": symmetric},
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
        model,
        True,
        half_range,
        QuantType.QInt8,
        activation,
        ranges,
        [],
        excluded,
        _KINDS if symmetric else _PLAIN_KINDS,
        options,
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
