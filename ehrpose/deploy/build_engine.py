"""Build a TensorRT engine on the device that will run it.

python -m ehrpose.deploy.build_engine end2end.onnx --precision fp16

Writes end2end.engine and its JSON sidecar: how to run it, what it is bound to (no torch, no onnx, Python 3.8).
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple, Union

from ehrpose.cli import run_cli
from ehrpose.deploy.sidecar import DeployError, Sidecar, file_hash, read_sidecar, sidecar_path
from ehrpose.deploy.tensorrt import build_config
from ehrpose.deploy.tensorrt import network as trt_network
from ehrpose.deploy.tensorrt.cuda import Cuda
from ehrpose.deploy.tensorrt.engine_info import (
    DEFAULT_WORKSPACE_MIB,
    PRECISIONS,
    SUFFIX,
    BuildOptions,
    commands,
)
from ehrpose.file_sets import written_together
from ehrpose.files import PartialFile, make_parent

__all__ = ["BuildOptions", "build_engine", "commands", "describe_engine"]

PathLike = Union[str, "os.PathLike[str]"]


def build_engine(
    onnx: PathLike, out: Optional[PathLike] = None, options: Optional[BuildOptions] = None, trt: Any = None
) -> Path:
    """Build the engine of an exported network, and write it with its sidecar.

    Args:
        onnx: File written by ``tools/deploy.py``, with its JSON sidecar next to it.
        out: The engine, ``.engine``; None: next to the ONNX file.
        options: How it is built.
        trt: The module ``tensorrt``; None: import the one for ``options.backend``.

    Returns:
        The engine's file.

    Raises:
        FileNotFoundError: The ONNX file or its sidecar is missing.
        DeployError: It cannot be built; the message says what to do, and nothing is left behind.
    """
    options = options or BuildOptions()
    onnx = Path(onnx)
    engine = _engine_path(onnx, out)
    sidecar = read_sidecar(onnx)
    trt = trt_network.import_tensorrt(options.backend) if trt is None else trt
    _check_writable(engine)
    cuda = _cuda(options)
    try:
        plan, record = _build(trt, cuda, onnx, engine, sidecar, options)
        with written_together(engine) as new:
            (new / engine.name).write_bytes(plan)
            _describe(new / engine.name, sidecar, options.backend, record)
    finally:
        if cuda is not None:
            cuda.close()
    return engine


def describe_engine(onnx: PathLike, engine: PathLike, options: BuildOptions, trt: Any = None) -> Path:
    """Write the sidecar of an engine that ``trtexec`` built from ``onnx`` on this device; return the engine's file.

    Raises:
        FileNotFoundError: A file is missing.
        DeployError: Its name has the wrong suffix, or TensorRT is not installed.
    """
    onnx = Path(onnx)
    engine = _engine_path(onnx, engine)
    if not engine.is_file():
        raise FileNotFoundError(f"engine not found: {engine}; create it with trtexec --saveEngine={engine}")
    sidecar = read_sidecar(onnx)
    trt = trt_network.import_tensorrt(options.backend) if trt is None else trt
    cuda = _cuda(options)
    record = _record(trt, cuda, onnx, engine, options)
    _describe(engine, sidecar, options.backend, record)
    return engine


def _build(
    trt: Any, cuda: Optional[Cuda], onnx: Path, engine: Path, sidecar: Sidecar, options: BuildOptions
) -> Tuple[Any, Dict[str, Any]]:
    """Return the serialized engine and its record."""
    logger = trt_network.make_logger(trt)
    builder = trt_network.create(trt.Builder, logger, "builder")
    network, _parser = trt_network.parse_onnx(trt, builder, logger, onnx)
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    precision, flags = build_config.set_precision(trt, config, network, options)
    pinned = build_config.pin_peaks(trt, config, network) if precision != "fp32" else {}
    if sidecar.decode == "peaks" and pinned == {} and precision != "fp32":
        raise DeployError(
            f"{onnx} was exported with `decode='peaks'`, but has no TopK: export it again with tools/deploy.py"
        )
    if pinned:
        flags.append("OBEY_PRECISION_CONSTRAINTS")
    flags += build_config.set_device(trt, builder, config, options, precision)
    max_batch = build_config.set_shapes(builder, config, network, sidecar, options)
    build_config.set_optimization_level(trt, config, options)
    calibrator = None
    if options.calib_data is not None and trt_network.typed_precision(trt, network) != "int8":
        # Imported here because reading photos needs OpenCV, which building otherwise does not.
        from ehrpose.deploy.tensorrt.calibrator import make_calibrator

        calibrator = make_calibrator(trt, cuda, sidecar, options.calib_data)
        config.int8_calibrator = calibrator
    # TensorRT-RTX does not time kernels at build time.
    cache_file = options.timing_cache_of(engine) if options.backend == "tensorrt" else None
    build_config.read_timing_cache(config, cache_file)
    options = replace(options, precision=precision, max_batch=max_batch if options.max_batch else None)
    name = sidecar.input.get("name", network.get_input(0).name)
    lines = commands(
        onnx, None, engine, options, (name, sidecar.input["shape"]), pinned, len(sidecar.shapes_wh) > 1
    )
    print("\n".join(line for line in lines if line), flush=True)
    start = time.perf_counter()
    plan = builder.build_serialized_network(network, config)
    if calibrator is not None:
        calibrator.batches.check()
    if plan is None:
        raise DeployError(
            f"TensorRT {trt.__version__} could not build {engine.name}: {logger.said()}. If memory ran out: close "
            f"other programs, add swap, or change --workspace-mib (now {options.workspace_mib})"
        )
    build_config.write_timing_cache(config, cache_file)
    record = _record(trt, cuda, onnx, engine, options)
    record.update(flags=flags, pinned_layers=len(pinned or ()), build_s=round(time.perf_counter() - start, 1))
    record["max_batch"] = max_batch
    return plan, record


def _cuda(options: BuildOptions) -> Optional[Cuda]:
    """Return CUDA; None if TensorRT-RTX builds ahead of time, without a GPU."""
    try:
        return Cuda()
    except DeployError:
        if options.backend == "tensorrt_rtx":
            return None
        raise


def _record(
    trt: Any, cuda: Optional[Cuda], onnx: Path, engine: Path, options: BuildOptions
) -> Dict[str, Any]:
    """Return what the engine is bound to."""
    return {
        "version": trt.__version__,
        "cuda_runtime": None if cuda is None else cuda.runtime_version(),
        # A TensorRT-RTX engine is not bound to one compute capability.
        "sm": None if cuda is None or options.backend == "tensorrt_rtx" else cuda.compute_capability(),
        "gpu": None if cuda is None else cuda.device_name(),
        "precision": options.precision,
        "workspace_mib": options.workspace_mib,
        "timing_cache": options.timing_cache_of(engine).name if options.backend == "tensorrt" else None,
        "dla_core": options.dla_core,
        "gpu_fallback": options.gpu_fallback,
        "max_batch": options.max_batch,
        "optimization_level": options.optimization_level,
        "onnx": onnx.name,
        "onnx_sha256": file_hash(onnx),
    }


def _describe(engine: Path, sidecar: Sidecar, backend: str, record: Dict[str, Any]) -> None:
    """Write the sidecar of an engine."""
    described = replace(
        sidecar,
        backend=backend,
        precision=record["precision"] or sidecar.precision,
        sha256={engine.name: file_hash(engine)},
        versions={**sidecar.versions, backend: record["version"]},
        engine=record,
        computed_in=None,
    )
    described.write(engine)


def _engine_path(onnx: Path, out: Optional[PathLike]) -> Path:
    engine = onnx.with_suffix(SUFFIX) if out is None else Path(out)
    if engine.suffix != SUFFIX:
        raise DeployError(f"the engine's name must end in {SUFFIX}, got {engine}")
    return engine


def _check_writable(engine: Path) -> None:
    """Raise DeployError now if the engine cannot be written, not after minutes of building."""
    try:
        make_parent(engine)
        file = PartialFile(engine)
        file.create()
        file.abort()
    except OSError as error:
        raise DeployError(
            f"cannot write to {engine.parent}: {error.strerror}; choose another file with --out"
        ) from error


def parse_args(argv: Optional[List[str]] = None) -> argparse.Namespace:
    """Parse the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("onnx", help="ONNX file written by tools/deploy.py, with its JSON next to it")
    command.add_argument("--precision", choices=PRECISIONS, help="default: as in the ONNX file")
    command.add_argument("--rtx", action="store_true", help="build with TensorRT-RTX")
    command.add_argument(
        "--workspace-mib", type=int, default=DEFAULT_WORKSPACE_MIB, help="workspace limit per layer, MiB"
    )
    command.add_argument("--timing-cache", metavar="FILE", help="default: timing.cache next to the engine")
    command.add_argument("--dla-core", type=int, metavar="N", help="run on this DLA core")
    command.add_argument(
        "--gpu-fallback", action="store_true", help="run layers that the DLA does not support on the GPU"
    )
    command.add_argument(
        "--calib-data", metavar="DIR", help="calibration images for int8 without Q/DQ, up to TensorRT 10"
    )
    command.add_argument("--max-batch", type=int, metavar="N", help="maximum batch size, for a dynamic batch")
    command.add_argument(
        "--optimization-level", type=int, metavar="0-5", help="requires TensorRT 8.6 or newer"
    )
    command.add_argument(
        "--out", metavar="FILE", help="default: the ONNX file's name with the suffix .engine"
    )
    command.add_argument(
        "--describe", metavar="FILE", help="only write the JSON of an engine built by trtexec"
    )
    return command.parse_args(argv)


def main(argv: Optional[List[str]] = None) -> None:
    """Build an engine and print what was written."""
    args = parse_args(argv)
    options = BuildOptions(
        precision=args.precision, backend="tensorrt_rtx" if args.rtx else "tensorrt",
        workspace_mib=args.workspace_mib, timing_cache=args.timing_cache, dla_core=args.dla_core,
        gpu_fallback=args.gpu_fallback, calib_data=args.calib_data, max_batch=args.max_batch,
        optimization_level=args.optimization_level,
    )  # fmt: skip
    if args.describe is not None:
        print(f"{sidecar_path(describe_engine(args.onnx, args.describe, options))}: written")
        return
    engine = build_engine(args.onnx, args.out, options)
    record = read_sidecar(engine).engine or {}
    print(f"{engine}: {engine.stat().st_size / 2**20:.1f} MiB, built in {record.get('build_s')} s")


if __name__ == "__main__":
    run_cli(main)
