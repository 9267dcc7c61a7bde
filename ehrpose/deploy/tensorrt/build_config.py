"""Build settings of a TensorRT engine: precision, device, batch, timing cache (no torch, Python 3.8).

TensorRT's releases differ in where the precision comes from. Up to 10 a network is weakly typed: builder flags allow
fp16 and int8, and TensorRT chooses. From 11 on, and in TensorRT-RTX, the types in the ONNX file are binding.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from ehrpose.counted import counted
from ehrpose.deploy.sidecar import DeployError, Sidecar
from ehrpose.deploy.tensorrt.engine_info import PRODUCTS, BuildOptions
from ehrpose.deploy.tensorrt.network import peak_layers, typed_precision
from ehrpose.files import write_bytes


def set_precision(trt: Any, config: Any, network: Any, options: BuildOptions) -> Tuple[str, List[str]]:
    """Set the precision of an engine.

    Returns:
        The precision, and the names of the builder flags that were set.

    Raises:
        DeployError: The file's types, this release and the requested precision do not go together.
    """
    typed = typed_precision(trt, network)
    precision = options.precision or typed
    half, eight = getattr(trt.BuilderFlag, "FP16", None), getattr(trt.BuilderFlag, "INT8", None)
    has_flags = half is not None and eight is not None
    product = f"{PRODUCTS[options.backend]} {trt.__version__}"
    if typed != "fp32" and typed != precision:
        raise DeployError(
            f"the ONNX file is already {typed}, so `precision={precision!r}` is not possible: build {typed}"
        )
    if precision == "fp16" and not has_flags and typed != "fp16":
        raise DeployError(
            f"{product} takes fp16 from the ONNX file only, and this one is {typed}: export it with "
            "tools/deploy.py, `precision='fp16'` and `typed=True`"
        )
    if precision == "int8" and typed != "int8" and (options.calib_data is None or not has_flags):
        also = ", or give calibration images with `calib_data`" if has_flags else ""
        raise DeployError(
            f"the ONNX file has no Q/DQ, which {product} needs for int8: export it with tools/deploy.py "
            f"and `precision='int8'`{also}"
        )
    flags = []
    if has_flags and precision != "fp32":
        config.set_flag(half)
        flags.append("FP16")
        if precision == "int8":
            config.set_flag(eight)
            flags.append("INT8")
    return precision, flags


def pin_peaks(trt: Any, config: Any, network: Any) -> Optional[Dict[str, bool]]:
    """Keep the layers that find peaks in float32 where TensorRT would be free to choose.

    Returns:
        Names of the layers, and whether all outputs of each are float; None if this release is strongly typed and
        nothing needs pinning.
    """
    obey = getattr(trt.BuilderFlag, "OBEY_PRECISION_CONSTRAINTS", None)
    if obey is None:
        return None
    pinned: Dict[str, bool] = {}
    for layer in peak_layers(trt, network):
        layer.precision = trt.float32
        dtypes = [layer.get_output(index).dtype for index in range(layer.num_outputs)]
        # Neither the comparison's result nor positions.
        is_float = [dtype in (trt.float32, trt.float16) for dtype in dtypes]
        for index in range(layer.num_outputs):
            if is_float[index]:
                layer.set_output_type(index, trt.float32)
        pinned[layer.name] = all(is_float)
    if pinned:
        config.set_flag(obey)
    return pinned


def set_optimization_level(trt: Any, config: Any, options: BuildOptions) -> None:
    """Set the trade-off between build time and speed."""
    if options.optimization_level is None:
        return
    if not hasattr(config, "builder_optimization_level"):
        raise DeployError(f"`optimization_level` needs TensorRT 8.6 or newer, this is {trt.__version__}")
    config.builder_optimization_level = options.optimization_level


def set_device(trt: Any, builder: Any, config: Any, options: BuildOptions, precision: str) -> List[str]:
    """Select the deep learning accelerator if requested; return the flags that were set."""
    if options.dla_core is None:
        return []
    cores = builder.num_DLA_cores
    if options.dla_core >= cores:
        raise DeployError(f"this device has {counted(cores, 'DLA core')}, got `dla_core={options.dla_core}`")
    if precision == "fp32":
        raise DeployError("the DLA computes in fp16 or int8, not in fp32: add `precision='fp16'`")
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = options.dla_core
    if options.gpu_fallback:
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        return ["GPU_FALLBACK"]
    return []


def set_shapes(builder: Any, config: Any, network: Any, sidecar: Sidecar, options: BuildOptions) -> int:
    """Create a profile for each input size, if batch or size are dynamic; return the maximum batch size."""
    tensor = network.get_input(0)
    shape = tuple(tensor.shape)
    most = _max_batch(int(shape[0]), options)
    if min(shape) >= 0:
        return most
    if sidecar.sides is not None:
        raise DeployError(
            "the ONNX file takes inputs of any size, TensorRT is tuned for given ones: export it for tensorrt, or "
            "with `input_size`"
        )
    if options.calib_data is not None:
        raise DeployError(
            "`calib_data` needs a fixed batch and input size: export without `dynamic_batch` and with `input_size`, or "
            "with `precision='int8'`"
        )
    if options.dla_core is not None and len(sidecar.shapes_wh) > 1:
        raise DeployError("the DLA takes one input size: export with `input_size`")
    for width, height in sidecar.shapes_wh:
        sizes = (3, height, width) if sidecar.input["layout"] == "NCHW" else (height, width, 3)
        least = most if shape[0] >= 0 else 1
        profile = builder.create_optimization_profile()
        profile.set_shape(tensor.name, (least, *sizes), (most, *sizes), (most, *sizes))
        config.add_optimization_profile(profile)
    return most


def _max_batch(batch: int, options: BuildOptions) -> int:
    """Return the maximum batch size of a network of batch size ``batch``, -1 for a dynamic one."""
    if batch >= 0:
        if options.max_batch not in (None, batch):
            raise DeployError(
                f"the ONNX file has a fixed batch size of {batch}, got `max_batch={options.max_batch}`: export it "
                "with tools/deploy.py and `dynamic_batch=True`"
            )
        return batch
    if options.max_batch is None:
        raise DeployError("the ONNX file has a dynamic batch: set the maximum with `max_batch`")
    return options.max_batch


def read_timing_cache(config: Any, path: Optional[Path]) -> None:
    """Let the builder use the timings of earlier builds, if they are from this device."""
    if path is None:
        return
    content = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(content)
    if content and (cache is None or not config.set_timing_cache(cache, False)):
        print(f"{path} is from another device or TensorRT version and will be rebuilt")
        content, cache = b"", config.create_timing_cache(b"")
    if not content and cache is not None:
        config.set_timing_cache(cache, False)


def write_timing_cache(config: Any, path: Optional[Path]) -> None:
    """Save the timings of this build for the next one."""
    cache = None if path is None else config.get_timing_cache()
    if path is None or cache is None:
        return
    write_bytes(path, cache.serialize())
