"""Networks of Open Model Zoo: foreign files become ones that ``PoseRuntime`` opens (OpenVINO only, no torch).

The zoo's files name their inputs and outputs differently, take float32, negate suppressed heatmap values and have no
sidecar. ``import_omz`` writes the same network once more with this project's names, uint8 input and plain maps.
Source: Open Model Zoo (Apache-2.0), model documentation and ``model.yml`` of each; SHA-384 from there.
"""

from __future__ import annotations

import hashlib
import os
import platform
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np

from ehrpose.deploy.omz_kinds import BIN_HASHES, KINDS, XML_HASHES, OmzKind
from ehrpose.deploy.sidecar import INPUT_NAME, DeployError, Sidecar, build_codec, file_hash
from ehrpose.deploy.signal_stack import kept_signal_stack
from ehrpose.file_kind import stand_in
from ehrpose.file_sets import written_together
from ehrpose.files import make_parent
from ehrpose.keypoint_files import coco_keypoints
from ehrpose.registry import CODECS
from ehrpose.version import __version__

__all__ = ["KINDS", "import_omz"]

Paths = Union[str, "os.PathLike[str]", Sequence[Union[str, "os.PathLike[str]"]]]
# Sides of inputs are multiples of it, and the longer one at most as many times the shorter one.
_DIVISOR, _MAX_ASPECT = 32, 8.0
# Largest difference from the original's output that rewriting may make, as a fraction of its largest value.
_MAX_ERROR = 1e-5
# Normalisation that the ONNX form of HigherHRNet leaves to its user; in the OpenVINO form it is part of the network.
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def import_omz(files: Paths, kind: Optional[str], out_dir: Union[str, os.PathLike[str]]) -> Path:
    """Write ``KIND.xml``, ``KIND.bin`` and their sidecar from a network of Open Model Zoo.

    The input becomes uint8 BGR called ``input`` with sides that follow each photo, or, if the network does not allow
    that, fixed ones; the outputs get the codec's names and no axes of size 1, and heatmaps their absolute values. What
    is written is compared with the original.

    Args:
        files: The ``.xml`` (its ``.bin`` is next to it) or ``.onnx`` file, or all files of the network.
        kind: A key of ``KINDS`` or the zoo's own name; None: the hash of the ``.xml`` tells.
        out_dir: Output folder; created if missing.

    Returns:
        The network's file, which ``PoseRuntime`` opens.

    Raises:
        FileNotFoundError: A file is missing.
        DeployError: The file is not known and ``kind`` is not given, it is another network or damaged, or OpenVINO is
            not installed.
    """
    network, weights = _network_files(files)
    chosen, precision = _identified(network, weights, None if kind is None else _key_of(kind))
    known = KINDS[chosen]
    try:
        import openvino
    except ImportError as error:
        raise DeployError(f"openvino is not installed ({error}): pip install openvino") from error
    if not hasattr(openvino, "opset13"):
        raise DeployError(
            f"expected openvino 2024.0 or newer, got {openvino.__version__}: pip install -U openvino"
        )
    path = Path(out_dir) / f"{chosen}.xml"
    make_parent(path)
    with kept_signal_stack():
        original = _read(openvino, network, weights)
        model = _rewritten(openvino, original.clone(), known, network)
        size_wh, sides = _with_free_sides(model, known)
        _check_same(openvino, original, model, known, network, size_wh)
        if precision is None:
            precision = "fp16" if _has_half_weights(model) else "fp32"
        sidecar = _sidecar(chosen, precision, model, size_wh, sides, openvino.__version__)
        build_codec(sidecar, path)
        with written_together(path) as new:
            openvino.save_model(model, str(new / path.name), compress_to_fp16=False)
            sidecar.sha256 = {part.name: file_hash(part) for part in (new / path.name, new / f"{chosen}.bin")}
            sidecar.write(new / path.name)
    return path


def _key_of(kind: str) -> str:
    """Return the key of ``KINDS`` of a name of either project."""
    for key, known in KINDS.items():
        if kind in (key, known.name):
            return key
    raise DeployError(f"unknown kind {kind!r}, expected one of {', '.join(KINDS)}")


def _network_files(files: Paths) -> Tuple[Path, Optional[Path]]:
    """Return the network's file and that of its weights, None for ONNX."""
    given = [Path(os.fspath(f)) for f in ([files] if isinstance(files, (str, os.PathLike)) else files)]
    networks = [path for path in given if path.suffix.lower() in (".xml", ".onnx")]
    if len(networks) != 1:
        raise DeployError(f"expected one .xml or .onnx file, got {', '.join(map(str, given)) or 'none'}")
    network, weights = networks[0], None
    if network.suffix.lower() == ".xml":
        others = [path for path in given if path.suffix.lower() == ".bin"]
        weights = others[0] if others else network.with_suffix(".bin")
    for path in (network, weights):
        if path is None:
            continue
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} not found; a network in OpenVINO's format is two files, .xml and .bin"
            )
        problem = stand_in(path)
        if problem:
            raise DeployError(f"{path} {problem}")
    return network, weights


def _identified(network: Path, weights: Optional[Path], kind: Optional[str]) -> Tuple[str, Optional[str]]:
    """Return kind and precision, None for one that is not known; check the hashes of known files."""
    found = XML_HASHES.get(_sha384(network))
    if found is None:
        if kind is None:
            raise DeployError(
                f"{network} is not one of the files of Open Model Zoo 2023.0 that are known by their SHA-384 "
                f"(human-pose-estimation-0005 to 0007): say with `kind` which network it is: {', '.join(KINDS)}"
            )
        return kind, None
    if kind not in (None, found[0]):
        raise DeployError(f"{network} is {found[0]} by its SHA-384, expected {kind}")
    if weights is not None and BIN_HASHES.get(_sha384(weights)) != found[1]:
        raise DeployError(
            f"checksum mismatch: {weights} is not the {found[1]} weights of {found[0]}; download the file again"
        )
    return found


def _sha384(path: Path) -> str:
    digest = hashlib.sha384()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _read(openvino: Any, network: Path, weights: Optional[Path]) -> Any:
    try:
        arguments = [str(network)] if weights is None else [str(network), str(weights)]
        return openvino.Core().read_model(*arguments)
    except RuntimeError as error:
        raise DeployError(f"OpenVINO cannot load {network}: {_last_line(error)}") from error


def _rewritten(openvino: Any, model: Any, kind: OmzKind, network: Path) -> Any:
    """Return the network with our input and outputs; ``model`` is used up."""
    opset = openvino.opset13
    if len(model.inputs) != 1:
        raise DeployError(f"{network}: expected one input, got {len(model.inputs)}: it is not {kind.name}")
    before = model.inputs[0].get_node()
    parameter = opset.parameter(before.get_output_partial_shape(0), np.uint8, name=INPUT_NAME)
    parameter.output(0).set_names({INPUT_NAME})
    pixels = opset.convert(parameter, "f32")
    if network.suffix.lower() == ".onnx":  # RGB, normalised
        channels = opset.gather(pixels, np.array([2, 1, 0], np.int64), np.array(1, np.int64))
        mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (_MEAN, _STD))
        pixels = opset.divide(opset.subtract(channels, mean), std)
    for target in before.output(0).get_target_inputs():
        target.replace_source_output(pixels.output(0))
    results = []
    for name, (prefix, channels_wanted, _) in kind.outputs.items():
        source = _source_of(model, prefix, network, kind)
        shape = source.get_partial_shape()
        if shape.rank.is_static and shape.rank.get_length() == 5:
            source = opset.squeeze(source, np.array([4], np.int64)).output(0)
            shape = source.get_partial_shape()
        if shape.rank.is_dynamic or shape.rank.get_length() != 4 or shape[1] != channels_wanted:
            raise DeployError(
                f"{network}: {prefix}: expected shape (1, {channels_wanted}, h, w), got {shape}: it is not {kind.name}"
            )
        if prefix == "heatmaps":  # values that are not a peak's are negated there
            source = opset.absolute(source).output(0)
        source.set_names({name})
        results.append(opset.result(source))
    return openvino.Model(results, [parameter], kind.name)


def _source_of(model: Any, prefix: str, network: Path, kind: OmzKind) -> Any:
    """Return the output whose name begins with ``prefix``, before its Result."""
    found, seen = [], []
    for output in model.outputs:
        source = output.get_node().input_value(0)
        names = {*output.get_names(), *source.get_names(), source.get_node().get_friendly_name()}
        seen.append(min(output.get_names() or names))
        if any(name.startswith(prefix) for name in names):
            found.append(source)
    if len(found) != 1:
        raise DeployError(
            f"{network}: expected one output whose name begins with {prefix!r}, got {', '.join(seen)}: it is not "
            f"{kind.name}"
        )
    return found[0]


def _with_free_sides(model: Any, kind: OmzKind) -> Tuple[Tuple[int, int], bool]:
    """Let the sides of the input follow the photo, in place.

    A network that holds shapes as constants keeps fixed sides.

    Returns:
        Width and height, px, an example if they follow the photo, and whether they do.
    """
    example = (kind.short, kind.short)
    try:
        for height, width in (example, (kind.short, kind.short + 3 * _DIVISOR)):
            trial = model.clone()
            trial.reshape([1, 3, height, width])
            _check_outputs(trial, kind, height, width)
        model.clone().reshape([1, 3, -1, -1])
    except (RuntimeError, ValueError):
        return _with_fixed_sides(model, kind), False
    model.reshape([1, 3, -1, -1])
    return example, True


def _with_fixed_sides(model: Any, kind: OmzKind) -> Tuple[int, int]:
    """Give the input the sides of the file, as multiples of 32, in place; return width and height."""
    shape = model.inputs[0].get_partial_shape()
    sides = [kind.short if side.is_dynamic else side.get_length() for side in (shape[2], shape[3])]
    height, width = (max(side // _DIVISOR, 1) * _DIVISOR for side in sides)
    try:
        model.reshape([1, 3, height, width])
        _check_outputs(model, kind, height, width)
    except (RuntimeError, ValueError) as error:
        raise DeployError(
            f"{kind.name}: the network does not run at {height} x {width} px: {_last_line(error)}"
        ) from error
    return width, height


def _check_outputs(model: Any, kind: OmzKind, height: int, width: int) -> None:
    for output, (_, channels, stride) in zip(model.outputs, kind.outputs.values()):
        wanted = [1, channels, height // stride, width // stride]
        shape = output.get_partial_shape()
        if shape.is_dynamic or [int(side) for side in shape.to_shape()] != wanted:
            raise ValueError(f"expected an output of shape {wanted}, got {shape}")


def _check_same(
    openvino: Any, original: Any, model: Any, kind: OmzKind, network: Path, size_wh: Tuple[int, int]
) -> None:
    """Raise DeployError unless both networks have the same maps for an image of noise."""
    shape = [1, 3, size_wh[1], size_wh[0]]
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    given = image.astype(np.float32)
    if network.suffix.lower() == ".onnx":
        mean, std = (np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (_MEAN, _STD))
        given = (given[:, ::-1] - mean) / std
    theirs, ours = original.clone(), model.clone()
    sources = [_source_of(theirs, prefix, network, kind) for prefix, _, _ in kind.outputs.values()]
    results = [openvino.opset13.result(source) for source in sources]
    wanted = _outputs(openvino, openvino.Model(results, theirs.get_parameters(), kind.name), given)
    for (prefix, _, _), one, other in zip(kind.outputs.values(), wanted, _outputs(openvino, ours, image)):
        expected = np.abs(one) if prefix == "heatmaps" else one
        error = float(np.abs(expected.reshape(other.shape) - other).max())
        if not error <= _MAX_ERROR * max(float(np.abs(expected).max()), 1.0):
            raise DeployError(
                f"{network}: {prefix} differs by {error:.2g} once its input and outputs are renamed"
            )


def _outputs(openvino: Any, model: Any, images: np.ndarray) -> List[np.ndarray]:
    model.reshape(list(images.shape))
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled.create_infer_request().infer([np.ascontiguousarray(images)])
    return [np.array(results[index]) for index in range(len(compiled.outputs))]


def _has_half_weights(model: Any) -> bool:
    constants = [node for node in model.get_ops() if node.get_type_name() == "Constant"]
    largest = max(constants, key=lambda node: int(np.prod(node.get_output_shape(0))), default=None)
    return largest is not None and largest.get_element_type().get_type_name() == "f16"


def _sidecar(
    chosen: str, precision: str, model: Any, size_wh: Tuple[int, int], sides: bool, version: str
) -> Sidecar:
    known, (width, height) = KINDS[chosen], size_wh
    if CODECS.own(known.codec["type"]) is None:
        raise DeployError(
            f"{chosen} needs the codec {known.codec['type']}, which this version of ehrpose does not have"
        )
    varying: Mapping[str, Any] = {}
    if sides:
        varying = {"sides": {"short": known.short, "divisor": _DIVISOR, "max_aspect": _MAX_ASPECT}}
    kind, options = known.codec["type"], {k: v for k, v in known.codec.items() if k != "type"}
    return Sidecar(
        name=chosen,
        backend="openvino",
        precision=precision,
        input={"name": INPUT_NAME, "shape": [1, 3, height, width], "dtype": "uint8", "layout": "NCHW",
               "color": "BGR", "range": [0, 255], "dynamic_batch": False, **varying},
        outputs={
            name: [1, channels, height // stride, width // stride]
            for name, (_, channels, stride) in known.outputs.items()
        },
        codec={"type": kind, "input_size": known.short, "keypoints": _coco_keypoints(), **options},
        versions={"ehrpose": __version__, "python": platform.python_version(), "openvino": version},
    )  # fmt: skip


def _coco_keypoints() -> Dict[str, Any]:
    """Return the skeleton of COCO as plain data."""
    found = coco_keypoints()
    return {
        key: [list(item) if isinstance(item, tuple) else item for item in value]
        if isinstance(value, list)
        else value
        for key, value in found.items()
    }


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
