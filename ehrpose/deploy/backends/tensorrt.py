"""TensorRT 8.5 to 11, and TensorRT-RTX: one runner over named tensors (no torch, Python 3.8).

All memory is allocated when the engine is loaded, for its largest batch; a run copies, computes and copies back in
one stream.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Dict, List, Optional, Tuple, Union

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.deploy.tensorrt.cuda import TO_DEVICE, TO_HOST, Cuda
from ehrpose.deploy.tensorrt.engine_info import SUFFIX, check_engine
from ehrpose.deploy.tensorrt.network import create, import_tensorrt, make_logger
from ehrpose.registry import BACKENDS

# Names in TensorRT's DataType; INT64 is not in 8.x.
_DTYPES = {"FLOAT": "float32", "HALF": "float16", "INT32": "int32", "INT64": "int64", "UINT8": "uint8",
           "INT8": "int8", "BOOL": "bool"}  # fmt: skip


class _Tensor:
    """An input or output: its memory on host and device, for the largest batch."""

    def __init__(self, name: str, shape: Tuple[int, ...], dtype: str, cuda: Cuda):
        self.name = name
        self.host = cuda.pinned_array(shape, dtype)
        self.device = cuda.device_memory(self.host.nbytes)

    def num_bytes(self, batch: int) -> int:
        return self.host.nbytes // len(self.host) * batch


@BACKENDS.register_module(name="tensorrt")
class TensorRTBackend(Backend):
    """Run an ``.engine`` file with TensorRT on the GPU; see ``Backend``.

    Several threads may call ``run``; they take turns. Batches larger than the engine's are run in parts.

    Args:
        path: The engine, with its JSON sidecar next to it.
        num_threads: No effect, as the network runs on the GPU.
        check_hashes: Verify the hashes of the files first.
        device: ``"cuda:0"``, or None.
        cuda_graph: Record the work of the largest batch once and replay it, which saves CPU time; smaller batches then
            take as long as the largest.

    Raises:
        FileNotFoundError: The engine or its sidecar is missing.
        DeployError: TensorRT or CUDA is missing, or the engine was built for another TensorRT, GPU or network.
    """

    name = "tensorrt"
    suffixes = (SUFFIX,)
    devices = ("cuda:0", "cuda")
    processor = "the first GPU that CUDA shows"

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        num_threads: Optional[int] = None,
        check_hashes: bool = True,
        cuda_graph: bool = False,
        device: Optional[str] = None,
    ):
        self.cuda_graph = cuda_graph
        self._lock = threading.Lock()
        self._cuda: Optional[Cuda] = None
        self._engine: Any = None
        self._context: Any = None
        self._runtime: Any = None
        self._tensors: Dict[str, _Tensor] = {}
        self._graph: Optional[int] = None
        super().__init__(path, num_threads, check_hashes, device)

    def _load(self) -> None:
        try:
            self._load_engine()
        except BaseException:
            self.close()
            raise

    def _load_engine(self) -> None:
        trt = import_tensorrt(self.name)
        # After TensorRT, whose packages load their own libcudart into the process.
        self._cuda = Cuda()
        check_engine(self.sidecar, self.path, self.name, trt.__version__, self._cuda.compute_capability())
        self._logger = make_logger(trt)
        self._runtime = create(trt.Runtime, self._logger, "runtime")
        dla_core = (self.sidecar.engine or {}).get("dla_core")
        if dla_core is not None:
            self._runtime.DLA_core = int(dla_core)
        self._engine = self._runtime.deserialize_cuda_engine(self.path.read_bytes())
        if self._engine is None:
            raise DeployError(
                f"TensorRT {trt.__version__} cannot load {self.path} ({self._logger.said()}): it is damaged or from "
                "another device; build it here with python -m ehrpose.deploy.build_engine"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeployError(
                f"TensorRT cannot prepare {self.path} ({self._logger.said()}): probably out of memory, close other "
                "programs or build with a smaller `max_batch`"
            )
        self._allocate(trt, self._cuda)

    def _allocate(self, trt: Any, cuda: Cuda) -> None:
        inputs, outputs = self._named_tensors(trt)
        expected = list(self.sidecar.outputs)
        if sorted(outputs) != sorted(expected) or len(inputs) != 1:
            raise DeployError(
                f"{self.path}: expected one input and outputs {expected} as in its JSON, got {inputs} and {outputs}: "
                "build again"
            )
        (given,) = inputs
        self._input = given
        shape = tuple(self._engine.get_tensor_shape(given))
        largest = shape
        self._dynamic = shape[0] < 0
        if self._dynamic:
            largest = tuple(self._engine.get_tensor_profile_shape(given, 0)[2])
            self._set_batch(largest)
        if list(largest[1:]) != list(self.sidecar.input["shape"][1:]):
            raise DeployError(
                f"{self.path}: expected images of {self.sidecar.input['shape']} as in its JSON, got {list(largest)}: "
                "build again"
            )
        self._largest = int(largest[0])
        self._stream = cuda.stream()
        for name in (given, *outputs):
            shape = largest if name == given else tuple(self._context.get_tensor_shape(name))
            if not shape or min(shape) < 1 or shape[0] != self._largest:
                raise DeployError(
                    f"{self.path}: {name} has shape {shape}, expected {self._largest} images: build again"
                )
            self._tensors[name] = _Tensor(name, shape, self._dtype(trt, name), cuda)
            if not self._context.set_tensor_address(name, self._tensors[name].device):
                raise DeployError(f"TensorRT rejected the memory of {name}: {self._logger.said()}")
        self._batch = self._largest

    def _named_tensors(self, trt: Any) -> Tuple[List[str], List[str]]:
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        return inputs, [name for name in names if name not in inputs]

    def _dtype(self, trt: Any, name: str) -> str:
        found = self._engine.get_tensor_dtype(name)
        for label, dtype in _DTYPES.items():
            if found == getattr(trt.DataType, label, None):
                return dtype
        raise DeployError(
            f"{self.path}: {name} has type {found}, expected one of {list(_DTYPES)}: export again"
        )

    def _set_batch(self, shape: Tuple[int, ...]) -> None:
        if not self._context.set_input_shape(self._input, shape):
            raise DeployError(f"TensorRT rejected a batch of {list(shape)}: {self._logger.said()}")

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        with self._lock:
            if self._cuda is None or self._context is None:
                raise DeployError(f"{self.path} was closed")
            step = self._largest
            starts = range(0, max(len(images), 1), step)
            parts = [self._run_part(self._cuda, images[i : i + step]) for i in starts]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _run_part(self, cuda: Cuda, images: np.ndarray) -> Dict[str, np.ndarray]:
        batch = len(images)
        results = {name: self._tensors[name].host[:batch] for name in self.sidecar.outputs}
        if batch:
            np.copyto(self._tensors[self._input].host[:batch], images, casting="same_kind")
            # A graph is recorded with fixed shapes, so there is only one, for the largest batch.
            self._compute(cuda, self._largest if self.cuda_graph else batch)
        return {name: _result(values) for name, values in results.items()}

    def _compute(self, cuda: Cuda, batch: int) -> None:
        if batch != self._batch:
            self._set_batch((batch, *self._tensors[self._input].host.shape[1:]))
            self._batch = batch
        if self.cuda_graph and self._graph is None:
            # The first run does one-time setup, which must not be recorded.
            self._enqueue(cuda, batch)
            cuda.synchronize(self._stream)
            self._graph = cuda.capture(self._stream, lambda: self._enqueue(cuda, batch))
        if self._graph is not None:
            cuda.launch(self._graph, self._stream)
        else:
            self._enqueue(cuda, batch)
        cuda.synchronize(self._stream)

    def _enqueue(self, cuda: Cuda, batch: int) -> None:
        """Enqueue the copy to the device, the network, and the copies back."""
        for name, memory in self._tensors.items():
            address, num_bytes = memory.host.ctypes.data, memory.num_bytes(batch)
            if name == self._input:
                cuda.copy_async(memory.device, address, num_bytes, TO_DEVICE, self._stream)
                if not self._context.execute_async_v3(self._stream):
                    raise DeployError(f"TensorRT failed on {self.path}: {self._logger.said()}")
            else:
                cuda.copy_async(address, memory.device, num_bytes, TO_HOST, self._stream)

    def close(self) -> None:
        with self._lock:
            # TensorRT's objects first: they use the stream and the memory, and must be released in this order.
            self._context = None
            self._engine = None
            self._runtime = None
            self._tensors, self._graph = {}, None
            if self._cuda is not None:
                self._cuda.close()
            self._cuda = None

    def __del__(self) -> None:
        # Otherwise TensorRT's objects would be released after the memory that they use, or never.
        if hasattr(self, "_lock"):
            self.close()


@BACKENDS.register_module(name="tensorrt_rtx")
class TensorRTRTXBackend(TensorRTBackend):
    """Run an ``.engine`` file with TensorRT-RTX; see ``TensorRTBackend``."""

    name = "tensorrt_rtx"


def _result(values: np.ndarray) -> np.ndarray:
    """Return a copy as float32, or int32 for positions; the next run overwrites the buffer."""
    return values.astype(np.int32 if values.dtype.kind in "iub" else np.float32)
