"""Build options of a TensorRT engine, the command to build it, and the check before it is loaded.

An engine runs only on the TensorRT release and the kind of GPU that it was built with (no torch, Python 3.8).
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, List, Mapping, Optional, Tuple

from ehrpose.deploy.sidecar import DeployError, Sidecar, file_hash

PRECISIONS = ("fp32", "fp16", "int8")
PRODUCTS = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
TRTEXEC = {"tensorrt": "/usr/src/tensorrt/bin/trtexec", "tensorrt_rtx": "tensorrt_rtx"}
DEFAULT_WORKSPACE_MIB = 1024
SUFFIX = ".engine"


@dataclass(frozen=True)
class BuildOptions:
    """How an engine is built.

    Attributes:
        precision: One of PRECISIONS; None: as in the ONNX file.
        backend: ``"tensorrt"`` or ``"tensorrt_rtx"``; also the name of the module.
        workspace_mib: Memory limit of a layer at run time, MiB.
        timing_cache: File with the timings of earlier builds; None: ``timing.cache`` next to the engine.
        dla_core: Core of the deep learning accelerator; None: the GPU.
        gpu_fallback: Run layers that the accelerator does not support on the GPU.
        calib_data: Folder of calibration photos for int8 without Q/DQ, up to TensorRT 10.
        max_batch: Maximum batch size, for an ONNX file with a dynamic batch.
        optimization_level: 0 (builds fast) to 5 (runs fast), from TensorRT 8.6 on; None: TensorRT's default.
    """

    precision: Optional[str] = None
    backend: str = "tensorrt"
    workspace_mib: int = DEFAULT_WORKSPACE_MIB
    timing_cache: Optional[str] = None
    dla_core: Optional[int] = None
    gpu_fallback: bool = False
    calib_data: Optional[str] = None
    max_batch: Optional[int] = None
    optimization_level: Optional[int] = None

    def __post_init__(self) -> None:
        if self.precision not in (None, *PRECISIONS) or self.backend not in PRODUCTS:
            raise ValueError(
                f"expected a precision in {PRECISIONS} and a backend in {tuple(PRODUCTS)}, got {self.precision} and "
                f"{self.backend}"
            )
        for name, least in (("workspace_mib", 1), ("max_batch", 1), ("dla_core", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"`{name}` must be at least {least}, got {value}")
        if self.optimization_level is not None and not 0 <= self.optimization_level <= 5:
            raise ValueError(f"`optimization_level` must be 0 to 5, got {self.optimization_level}")
        if self.dla_core is None and self.gpu_fallback:
            raise ValueError("`gpu_fallback` needs a `dla_core`, none is given")
        if self.calib_data is not None and self.precision != "int8":
            raise ValueError(f"`calib_data` is for precision int8, got {self.precision}")

    def timing_cache_of(self, engine: Path) -> Path:
        """Return the timing cache file of an engine."""
        return Path(self.timing_cache) if self.timing_cache else engine.parent / "timing.cache"


DEFAULTS = {field.name: field.default for field in fields(BuildOptions)}


def commands(
    onnx: Any,
    precision: Optional[str] = None,
    out: Any = None,
    options: Optional[BuildOptions] = None,
    input_shape: Optional[Tuple[str, List[int]]] = None,
    float_layers: Optional[Mapping[str, bool]] = MappingProxyType({}),
    several_shapes: bool = False,
) -> Tuple[str, str]:
    """Return the two command lines that build the same engine: ours, and the one for TensorRT's own tool.

    The second is empty with ``calib_data``, as the tool cannot calibrate on photos, and with ``several_shapes``, as
    that of older releases builds one profile only.

    Args:
        onnx: The ONNX file.
        precision: One of PRECISIONS, overrides that of ``options``.
        out: The engine; None: next to the ONNX file.
        options: How it is built.
        input_shape: Name and shape of the input, needed for a dynamic batch only.
        float_layers: Names of the layers that stay float32, those of the peak decoding (MaxPool, Equal, Where, TopK),
            and whether all of their outputs are float too. None: TensorRT is strongly typed, from 11 on.
        several_shapes: The network has several input sizes.
    """
    options = replace(
        options or BuildOptions(), precision=precision or (options and options.precision) or "fp32"
    )
    engine = Path(out) if out is not None else Path(onnx).with_suffix(SUFFIX)
    ours = ["python", "-m", "ehrpose.deploy.build_engine", str(onnx)]
    for name, value in vars(options).items():
        if value == DEFAULTS[name]:
            continue
        option = f"--{name.replace('_', '-')}"
        ours += ["--rtx"] if name == "backend" else [option] if value is True else [option, str(value)]
    ours += [] if out is None else ["--out", str(out)]
    theirs = [TRTEXEC[options.backend], f"--onnx={onnx}", f"--saveEngine={engine}"]
    theirs += [f"--memPoolSize=workspace:{options.workspace_mib}"]
    if options.backend == "tensorrt":
        theirs += [
            f"--timingCacheFile={options.timing_cache_of(engine)}",
            *_trtexec_types(options, float_layers),
        ]
    if options.dla_core is not None:
        theirs += [f"--useDLACore={options.dla_core}"] + ["--allowGPUFallback"] * options.gpu_fallback
    if options.max_batch is not None and input_shape is not None:
        for kind, batch in (("min", 1), ("opt", options.max_batch), ("max", options.max_batch)):
            shape = "x".join(map(str, [batch, *input_shape[1][1:]]))
            theirs += [f"--{kind}Shapes={input_shape[0]}:{shape}"]
    if options.optimization_level is not None:
        theirs += [f"--builderOptimizationLevel={options.optimization_level}"]
    theirs = [] if options.calib_data is not None or several_shapes else theirs
    return " ".join(map(shlex.quote, ours)), " ".join(map(shlex.quote, theirs))


def _trtexec_types(options: BuildOptions, float_layers: Optional[Mapping[str, bool]]) -> List[str]:
    if float_layers is None:
        return []
    flags = {"fp16": ["--fp16"], "int8": ["--int8", "--fp16"]}.get(str(options.precision), [])
    if flags and float_layers:
        pinned = [f"{name}:fp32" for name in float_layers]
        given = [f"{name}:fp32" for name, is_float in float_layers.items() if is_float]
        flags += ["--precisionConstraints=obey", f"--layerPrecisions={','.join(pinned)}"]
        flags += [f"--layerOutputTypes={','.join(given)}"] * bool(given)
    return flags


def check_engine(sidecar: Sidecar, path: Path, backend: str, version: str, sm: Optional[str]) -> None:
    """Check that an engine was built for this device and TensorRT.

    Args:
        sidecar: The engine's sidecar.
        path: The engine.
        backend: Name of the backend that will run it.
        version: TensorRT version of this device.
        sm: Compute capability of this device, e.g. ``"7.2"``; None if it does not matter.

    Raises:
        DeployError: They do not match, or the ONNX file next to the engine is not the one that it was built from.
    """
    record = sidecar.engine
    if not record:
        raise DeployError(
            f"the JSON of {path} does not say what the engine was built for: build it with "
            "python -m ehrpose.deploy.build_engine, or describe an engine built by trtexec with its option `describe`"
        )
    onnx = str(record.get("onnx", "end2end.onnx"))
    if path.name not in sidecar.sha256:  # renamed; the ONNX file of the old name may belong to another engine
        onnx = path.with_suffix(".onnx").name
    rebuild = commands(onnx, sidecar.precision, path.name, _options(sidecar, backend))[0]
    built, present = PRODUCTS.get(sidecar.backend, sidecar.backend), PRODUCTS[backend]
    found_version, found_sm = str(record.get("version")), record.get("sm")
    sm_differs = sm is not None and found_sm is not None and str(found_sm) != sm
    if sidecar.backend != backend or not _same_version(found_version, version) or sm_differs:
        there, here = (f" on SM {s}" if s is not None else "" for s in (found_sm, sm))
        raise DeployError(
            f"{path} was built for {built} {found_version}{there}, this device has {present} {version}{here}; "
            f"engines are not portable: rebuild it here with {rebuild}"
        )
    source = path.parent / onnx
    if source.is_file() and record.get("onnx_sha256") != file_hash(source):
        raise DeployError(f"{path} was not built from the {onnx} next to it: rebuild it with {rebuild}")


def _options(sidecar: Sidecar, backend: str) -> BuildOptions:
    """Return the options that an engine was built with, as far as they are recorded and this version knows them."""
    record = sidecar.engine or {}
    names = ["workspace_mib", "dla_core", "gpu_fallback", "optimization_level"]
    names += ["max_batch"] * bool(sidecar.input.get("dynamic_batch"))
    try:
        known = {name: record[name] for name in names if record.get(name) is not None}
        return BuildOptions(backend=backend, **known)
    except (TypeError, ValueError):
        return BuildOptions(backend=backend)


def _same_version(one: str, other: str) -> bool:
    """Compare the parts that both versions have: ``8.5.2`` equals ``8.5.2.2``, as some packages omit the last part."""
    pairs = list(zip(one.split("+")[0].split("."), other.split("+")[0].split(".")))
    return len(pairs) >= 3 and all(a == b for a, b in pairs)
