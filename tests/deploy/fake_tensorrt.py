"""A recording tensorrt whose classes have only the names of the real release (see ``trt_api``).

An ONNX file is JSON here: ``{"shape": [...], "dtype": ..., "layers": [[type, name, inputs, {output: dtype}], ...],
"errors": [[node, text], ...]}``; an engine is the JSON ``{"tensors": [[name, mode, shape, dtype], ...], "max": n}``,
with ``"sizes": [[H, W], ...]`` one for each profile; a side of -n is the input's side over n.
The engine's outputs are the input's mean plus their index, so that mixed-up memory shows.
"""

from __future__ import annotations

import ctypes
import json
from types import ModuleType

import numpy as np
from trt_api import TABLE, names_of

from ehrpose.deploy.sidecar import Sidecar, file_hash
from ehrpose.structures import PeakMaps

SHAPE = [1, 3, 32, 64]
CONVOLUTION = ["CONVOLUTION", "conv", ["input"], {"heat4": "FLOAT"}]
HALF_CONVOLUTION = ["CONVOLUTION", "conv", ["input"], {"heat4": "HALF"}]
QUANTIZE = ["QUANTIZE", "q", ["input"], {"q_out": "INT8"}]
PLAN = {"tensors": [["input", "INPUT", SHAPE, "FLOAT"], ["heat4", "OUTPUT", [1, 17, 8, 16], "HALF"],
                    ["tag4", "OUTPUT", [1, 17, 30], "INT32"]], "max": 1}  # fmt: skip
OUTPUTS = {name: shape for name, _, shape, _ in PLAN["tensors"][1:]}
PEAK_OUTPUTS = {name: [1, 17, 30] for name in PeakMaps._fields}
CODEC = {"type": "Fake"}  # these tests decode nothing
NUMPY = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64"}


def write_onnx(folder, layers=(CONVOLUTION,), shape=SHAPE, precision="fp32", decode="none", errors=()):
    """Write a stand-in for an exported network, and its sidecar; return the file."""
    path = folder / "end2end.onnx"
    path.write_text(json.dumps({"shape": list(shape), "layers": list(layers), "errors": list(errors)}))
    fixed = [abs(shape[0]), *(n if n > 0 else side for n, side in zip(shape[1:], SHAPE[1:]))]
    Sidecar(
        name="fake", backend="tensorrt", precision=precision, decode=decode, codec=CODEC,
        outputs=PEAK_OUTPUTS if decode == "peaks" else OUTPUTS,
        input={"name": "input", "shape": fixed, "dtype": "float32", "layout": "NCHW", "color": "BGR",
               "dynamic_batch": shape[0] < 0}, sha256={path.name: file_hash(path)},
    ).write(path)  # fmt: skip
    return path


class Failure:
    """Faults to inject; one per attribute."""

    no_builder = no_plan = no_engine = no_context = no_address = no_shape = no_execution = bad_cache = False
    no_profile = False


def make_tensorrt(release, cudart=None, fail=(), plan=None):
    """Return a module like ``tensorrt`` of a release, with ``record``, a list of (class.name, arguments)."""
    has = names_of(release)
    trt = ModuleType("tensorrt")
    trt.__version__ = release.split()[-1]
    trt.record, trt.alive, trt.has = [], [], has
    trt.plan = plan or {"tensors": [], "max": 1}
    failure = Failure()
    for name in fail:
        assert hasattr(failure, name)
        setattr(failure, name, True)

    def enum(name):
        members = [n.split(".")[1] for n in TABLE if n.startswith(f"{name}.")]
        return type(name, (), {m: f"{name}.{m}" for m in members if f"{name}.{m}" in has})

    for name in ("BuilderFlag", "MemoryPoolType", "DeviceType", "LayerType", "TensorIOMode", "DataType"):
        setattr(trt, name, enum(name))
    flags = {"EXPLICIT_BATCH": 0} if "NetworkDefinitionCreationFlag.EXPLICIT_BATCH" in has else {}
    trt.NetworkDefinitionCreationFlag = type("NetworkDefinitionCreationFlag", (), flags)
    trt.float32, trt.float16, trt.bool = trt.DataType.FLOAT, trt.DataType.HALF, trt.DataType.BOOL

    class Guarded:
        """Attributes without an underscore must be names of the release."""

        def __getattribute__(self, name):
            kind = type(self).__name__
            if not name.startswith("_"):
                if f"{kind}.{name}" not in has:
                    raise AttributeError(f"{kind}.{name} is not in TensorRT {release}")
                trt.record.append((f"{kind}.{name}", None))
            return object.__getattribute__(self, name)

        def __setattr__(self, name, value):
            if not name.startswith("_"):
                kind = type(self).__name__
                if f"{kind}.{name}" not in has:
                    raise AttributeError(f"{kind}.{name} is not in TensorRT {release}")
                trt.record.append((f"{kind}.{name} =", value))
            object.__setattr__(self, name, value)

        def _note(self, name, *arguments):
            trt.record.append((f"{type(self).__name__}.{name}()", arguments))

        def _live(self):
            trt.alive.append(type(self).__name__)

        def __del__(self):
            kind = type(self).__name__
            if kind in trt.alive:
                trt.alive.remove(kind)
                trt.record.append((f"{kind} gone", None))

    class ILogger:
        INTERNAL_ERROR, ERROR, WARNING = "internal error", "error", "warning"

    class ITensor(Guarded):
        def __init__(self, name, dtype, shape=()):
            self._values = name, dtype, shape

        name = property(lambda self: self._values[0])
        dtype = property(lambda self: getattr(trt.DataType, self._values[1]))
        shape = property(lambda self: self._values[2])

    class ILayer(Guarded):
        def __init__(self, kind, name, inputs, outputs):
            self._kind, self._title, self._inputs = kind, name, [ITensor(n, "FLOAT") for n in inputs]
            self._outputs = [ITensor(*item) for item in outputs.items()]

        type = property(lambda self: getattr(trt.LayerType, self._kind))
        name = property(lambda self: self._title)
        num_inputs = property(lambda self: len(self._inputs))
        num_outputs = property(lambda self: len(self._outputs))

        def get_input(self, index):
            return self._inputs[index]

        def get_output(self, index):
            return self._outputs[index]

        precision = None

        def set_output_type(self, index, dtype):
            self._note("set_output_type", self._title, index, dtype)

        def __setattr__(self, name, value):
            super().__setattr__(name, value)
            if name == "precision":
                trt.record.append(("pinned", (self._title, value)))

    class INetworkDefinition(Guarded):
        _model = None
        num_layers = property(lambda self: len(self._layers))

        def get_layer(self, index):
            return self._layers[index]

        def get_input(self, index):
            return ITensor("input", "FLOAT", tuple(self._model["shape"]))

    class ParserError(Guarded):
        def __init__(self, node, text):
            self._values = node, text

        def node(self):
            return self._values[0]

        def desc(self):
            return self._values[1]

    class OnnxParser(Guarded):
        def __init__(self, network, logger):
            self._network = network

        def parse(self, content, path):
            model = json.loads(content)
            self._network._model = model
            self._network._layers = [ILayer(*layer) for layer in model["layers"]]
            self._errors = model.get("errors", [])
            return not self._errors

        num_errors = property(lambda self: len(self._errors))

        def get_error(self, index):
            return ParserError(*self._errors[index])

    class ITimingCache(Guarded):
        def __init__(self, content):
            self._content = content

        def serialize(self):
            return self._content + b" and more"

    class IOptimizationProfile(Guarded):
        def set_shape(self, *arguments):
            self._note("set_shape", *arguments)

    class IBuilderConfig(Guarded):
        int8_calibrator = builder_optimization_level = default_device_type = DLA_core = None
        _cache = None

        def set_memory_pool_limit(self, pool, size):
            self._note("set_memory_pool_limit", pool, size)

        def set_flag(self, flag):
            self._note("set_flag", flag)

        def add_optimization_profile(self, profile):
            self._note("add_optimization_profile", profile)

        def create_timing_cache(self, content):
            self._note("create_timing_cache", content)
            return ITimingCache(content)

        def set_timing_cache(self, cache, ignore_mismatch):
            assert ignore_mismatch is False
            fits = not (failure.bad_cache and cache._content)
            if fits:
                self._cache = cache
            return fits

        def get_timing_cache(self):
            return self._cache

    class Builder(Guarded):
        num_DLA_cores = 2 if release.startswith("8.5") else 0  # noqa: N815

        def __init__(self, logger):
            self._logger = logger
            if failure.no_builder:
                logger.log(ILogger.WARNING, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")

        def create_network(self, flags=0):
            self._note("create_network", flags)
            return INetworkDefinition()

        def create_builder_config(self):
            return IBuilderConfig()

        def create_optimization_profile(self):
            return IOptimizationProfile()

        def build_serialized_network(self, network, config):
            self._note("build_serialized_network")
            calibrator = config.int8_calibrator if "IBuilderConfig.int8_calibrator" in has else None
            trt.calibration = []
            while calibrator is not None:
                batch = calibrator.get_batch(["input"])
                if batch is None:
                    break
                trt.calibration.append((calibrator.get_batch_size(), ctypes.string_at(batch[0], 16)))
            if failure.no_plan:
                self._logger.log(ILogger.ERROR, "Could not find any implementation\nfor node Conv_0.")
                return None
            return json.dumps(trt.plan).encode()

    class IExecutionContext(Guarded):
        def __init__(self, engine):
            self._engine, self._shapes, self._addresses, self._profile = engine, {}, {}, 0
            self._live()

        def set_input_shape(self, name, shape):
            self._note("set_input_shape", name, tuple(shape))
            self._shapes[name] = tuple(shape)
            sizes = self._engine._plan.get("sizes")
            fits = sizes is None or list(shape[2:]) == sizes[self._profile]
            return not failure.no_shape and shape[0] <= self._engine._plan["max"] and fits

        def set_optimization_profile_async(self, index, stream):
            self._note("set_optimization_profile_async", index, stream)
            self._profile = index
            return not failure.no_profile

        def _real(self, shape):
            given = self._shapes.get("input", ())
            sides = [given[i + 2] // -n if n < 0 else n for i, n in enumerate(shape[2:])]
            return (given[0] if shape[0] < 0 else shape[0], shape[1], *sides)

        def get_tensor_shape(self, name):
            return self._real(self._engine._tensor(name)[2])

        def set_tensor_address(self, name, address):
            self._note("set_tensor_address", name, address)
            self._addresses[name] = address
            return not failure.no_address

        def execute_async_v3(self, stream):
            self._note("execute_async_v3", stream)
            if failure.no_execution:
                return False
            arrays = {}
            for name, _, shape, dtype in self._engine._plan["tensors"]:
                shape = self._real(shape)
                dtype = np.dtype(NUMPY[dtype])
                memory = (ctypes.c_uint8 * int(np.prod(shape) * dtype.itemsize)).from_address(
                    self._addresses[name]
                )
                arrays[name] = np.frombuffer(memory, dtype).reshape(shape)

            def work():
                means = arrays["input"].astype(np.float64).mean(axis=(1, 2, 3))
                for place, (name, array) in enumerate(arrays.items()):
                    if name != "input":
                        array[...] = (means + place).reshape(-1, *[1] * (array.ndim - 1))

            cudart.do(work)
            return True

    class ICudaEngine(Guarded):
        def __init__(self, plan):
            self._plan = plan
            self._live()

        def _tensor(self, name):
            return next(tensor for tensor in self._plan["tensors"] if tensor[0] == name)

        num_io_tensors = property(lambda self: len(self._plan["tensors"]))
        num_optimization_profiles = property(lambda self: len(self._plan.get("sizes", [0])))

        def get_tensor_name(self, index):
            return self._plan["tensors"][index][0]

        def get_tensor_mode(self, name):
            return getattr(trt.TensorIOMode, self._tensor(name)[1])

        def get_tensor_shape(self, name):
            return tuple(self._tensor(name)[2])

        def get_tensor_dtype(self, name):
            return getattr(trt.DataType, self._tensor(name)[3], "DataType.FP8")

        def get_tensor_profile_shape(self, name, profile):
            shape = [3, *self._plan["sizes"][profile]] if "sizes" in self._plan else self._tensor(name)[2][1:]
            return [(1, *shape), (1, *shape), (self._plan["max"], *shape)]

        def create_execution_context(self):
            return None if failure.no_context else IExecutionContext(self)

    class Runtime(Guarded):
        DLA_core = None

        def __init__(self, logger):
            self._logger = logger
            self._live()

        def deserialize_cuda_engine(self, content):
            self._note("deserialize_cuda_engine")
            if failure.no_engine:
                self._logger.log(ILogger.ERROR, "Version tag does not match")
                return None
            return ICudaEngine(json.loads(content))

    class IInt8EntropyCalibrator2:
        pass

    for item in (ILogger, IInt8EntropyCalibrator2, OnnxParser, Builder, Runtime):
        if item.__name__ in has:
            setattr(trt, item.__name__, item)
    return trt
