"""OpenVINO, the fastest backend on x86 CPUs (no torch)."""

from __future__ import annotations

import os
import threading
from collections import Counter
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np

from ehrpose.cpu import machine_cores
from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.deploy.signal_stack import kept_signal_stack
from ehrpose.registry import BACKENDS
from ehrpose.threads import default_threads

HINTS = ("latency", "throughput")
# What is asked of OpenVINO for each precision of a file. Never left to it: on processors that have bfloat16 its default
# is bfloat16, also for float32 files. In int8 files it is for the layers that are not quantised.
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "bf16"}
_NAMES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16", "i8": "int8", "u8": "int8"}


@BACKENDS.register_module(name="openvino")
class OpenVinoBackend(Backend):
    """Run an ``.onnx`` or ``.xml`` file with OpenVINO on the CPU; see ``Backend``.

    An infer request belongs to one run at a time, so there are as many as OpenVINO runs well at once (with the hint
    ``"latency"`` one), and further threads take turns.

    A network whose input follows the photo is compiled for each of the first ``max_shapes`` sizes that come, which is 3
    to 10 % faster than one for all sizes; later sizes share the latter.

    Args:
        path: The network's file, with its JSON sidecar next to it.
        num_threads: CPU threads; None: ``OMP_NUM_THREADS``, the container's share, or OpenVINO's default.
        check_hashes: Verify the hashes of the files first.
        hint: ``"latency"`` or ``"throughput"``.
        precision: Type of the arithmetic to ask for, ``"fp32"``, ``"bf16"``, ...; None: as in the sidecar. The CPU may
            not support it: ``used_precision`` says what runs.
        device: ``"cpu"``, or None.
        max_shapes: Input sizes that get a compiled network of their own, which takes time when they first come, and
            memory.
    """

    name = "openvino"

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        num_threads: Optional[int] = None,
        check_hashes: bool = True,
        hint: str = "latency",
        precision: Optional[str] = None,
        device: Optional[str] = None,
        max_shapes: int = 4,
    ):
        if max_shapes < 0:
            raise ValueError(f"max_shapes must be at least 0, got {max_shapes}")
        if hint not in HINTS:
            raise ValueError(f"hint must be one of {HINTS}, got {hint!r}")
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {tuple(PRECISIONS)}, got {precision!r}")
        self.hint, self.precision, self.max_shapes = hint, precision, max_shapes
        self._used_precision = ""
        self._changed = threading.Condition()
        self._network: Any = None
        self._settings: Dict[str, Any] = {}
        self._instances: Dict[Optional[Tuple[int, ...]], _Instance] = {}  # by shape; None takes all
        super().__init__(path, num_threads, check_hashes, device)

    def _load(self) -> None:
        try:
            import openvino
        except ImportError as error:
            raise self._missing(error) from error
        settings: Dict[str, Any] = {
            "PERFORMANCE_HINT": self.hint.upper(),
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.precision or self.sidecar.precision],
        }
        threads = self.num_threads or default_threads()
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
            if threads < machine_cores():
                # Each process would bind its threads to the first cores, where those of the others are too.
                settings["ENABLE_CPU_PINNING"] = False
        self._settings = settings
        try:
            with kept_signal_stack():
                self._core = openvino.Core()
                self._network = self._core.read_model(str(self.path))
        except RuntimeError as error:
            raise DeployError(f"OpenVINO cannot load {self.path}: {str(error).splitlines()[-1]}") from error
        names = {name for output in self._network.outputs for name in output.get_names()}
        missing = [name for name in self.sidecar.outputs if name not in names]
        if missing:
            raise DeployError(f"{self.path} lacks the outputs {missing} that its JSON lists: export again")
        self._used_precision = _used_precision(self._instance(tuple(self.sidecar.input["shape"])).compiled)

    def _instance(self, shape: Tuple[int, ...]) -> _Instance:
        """Return the compiled network for inputs of ``shape``; compile it if it is new."""
        with self._changed:
            if self._network is None:
                raise DeployError(f"{self.path} was closed")
            own = [known for known in self._instances if known is not None]
            is_own = self._network.is_dynamic() and (shape in own or len(own) < self.max_shapes)
            key = shape if is_own else None
            if key not in self._instances:
                self._instances[key] = self._compiled(key)
            return self._instances[key]

    def _compiled(self, shape: Optional[Tuple[int, ...]]) -> _Instance:
        try:
            with kept_signal_stack():
                network = self._network
                if shape is not None:
                    network = network.clone()
                    network.reshape(list(shape))
                return _Instance(self._core.compile_model(network, "CPU", self._settings))
        except RuntimeError as error:
            raise DeployError(f"OpenVINO cannot load {self.path}: {str(error).splitlines()[-1]}") from error

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        instance, request = self._instance(images.shape), None
        try:
            request = self._take(instance)
            results = request.infer([images], share_inputs=True)
            # Copied, as the request's next run overwrites its memory.
            return {name: np.array(results[instance.outputs[name]]) for name in self.sidecar.outputs}
        except RuntimeError as error:
            raise DeployError(f"OpenVINO failed on {self.path}: {str(error).splitlines()[-1]}") from error
        finally:
            if request is not None:
                self._put_back(instance, request)

    def _take(self, instance: _Instance) -> Any:
        """Return a request that no other thread uses; wait for one if necessary."""
        with self._changed:
            self._changed.wait_for(lambda: instance.idle or self._network is None)
            if self._network is None:
                raise DeployError(f"{self.path} was closed")
            return instance.idle.pop()

    def _put_back(self, instance: _Instance, request: Any) -> None:
        with self._changed:
            instance.idle.append(request)
            self._changed.notify_all()

    @property
    def used_precision(self) -> str:
        """See ``Backend``; read from the compiled network."""
        return self._used_precision

    def close(self) -> None:
        with self._changed, kept_signal_stack():
            self._network = None  # no further run starts
            self._changed.notify_all()
            # Requests are freed here, in a thread whose signal stack is kept, once their runs are over.
            self._changed.wait_for(lambda: all(one.is_idle for one in self._instances.values()))
            self._instances = {}
            self._core = None


class _Instance:
    """A compiled network and its infer requests; ``idle`` are those that no thread uses."""

    def __init__(self, compiled: Any):
        self.compiled = compiled
        self.outputs: Dict[str, Any] = {
            name: output for output in compiled.outputs for name in output.get_names()
        }
        self._number = max(1, int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")))
        self.idle: List[Any] = [compiled.create_infer_request() for _ in range(self._number)]

    @property
    def is_idle(self) -> bool:
        """Whether no run is going on."""
        return len(self.idle) == self._number


def _used_precision(compiled: Any) -> str:
    """Return the types in which a compiled network convolves, most frequent first, joined with ``+``.

    The property INFERENCE_PRECISION_HINT, used where the network does not tell, is what was chosen for the layers that
    are not quantised.
    """
    kinds: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        said = {key: _text(value) for key, value in node.get_rt_info().items()}
        if said.get("layerType", "").endswith("onvolution"):  # also Deconvolution
            kinds[said.get("runtimePrecision", "")] += 1
    found = [kind for kind, _ in kinds.most_common() if kind in _NAMES]
    if not found:
        found = [_type_name(compiled.get_property("INFERENCE_PRECISION_HINT"))]
    return "+".join(dict.fromkeys(_NAMES.get(kind, kind) for kind in found))


def _text(value: Any) -> str:
    return str(value.astype(str) if hasattr(value, "astype") else value)


def _type_name(precision: Any) -> str:
    """Return OpenVINO's name of a type."""
    return str(precision.get_type_name() if hasattr(precision, "get_type_name") else precision)
