"""Running an engine for one input size: context, memory, and the recorded work (no torch, Python 3.8).

All memory is allocated when the context is created, for the largest batch; a run copies, computes and copies back in
one stream.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from ehrpose.deploy.sidecar import DeployError
from ehrpose.deploy.tensorrt.cuda import TO_DEVICE, TO_HOST, Cuda

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


class Execution:
    """An execution context for one optimisation profile of an engine; one thread at a time.

    Args:
        trt: The module ``tensorrt``.
        cuda: Owner of stream and memory.
        logger: TensorRT's logger.
        engine: The engine.
        path: Its file, for messages.
        profile: Number of the optimisation profile.
        cuda_graph: Record the work of the largest batch once and replay it.

    Attributes:
        shape: Shape of the input, with the largest batch.

    Raises:
        DeployError: TensorRT fails.
    """

    def __init__(
        self, trt: Any, cuda: Cuda, logger: Any, engine: Any, path: Path, profile: int, cuda_graph: bool
    ):
        self._cuda, self._logger, self.path, self.cuda_graph = cuda, logger, path, cuda_graph
        self._tensors: Dict[str, _Tensor] = {}
        self._graph: Optional[int] = None
        self._engine: Any = engine
        self._context: Any = self._engine.create_execution_context()
        # An error's traceback keeps local variables alive: TensorRT's objects, which must go before their memory, are
        # attributes only.
        del engine
        if self._context is None:
            raise DeployError(
                f"TensorRT cannot prepare {path} ({logger.said()}): probably out of memory, close other programs or "
                "build with a smaller `max_batch`"
            )
        try:
            self._prepare(trt, profile)
        except BaseException:
            self.close()
            raise

    def _prepare(self, trt: Any, profile: int) -> None:
        self._stream = self._cuda.stream()
        if profile and not self._context.set_optimization_profile_async(profile, self._stream):
            raise DeployError(f"TensorRT rejected profile {profile} of {self.path}: {self._logger.said()}")
        (self._input,), outputs = named_tensors(trt, self._engine)
        self.shape = tuple(self._engine.get_tensor_shape(self._input))
        if min(self.shape) < 0:
            self.shape = tuple(self._engine.get_tensor_profile_shape(self._input, profile)[2])
            self._set_shape(self.shape)
        self._largest = self._batch = int(self.shape[0])
        for name in (self._input, *outputs):
            shape = self.shape if name == self._input else tuple(self._context.get_tensor_shape(name))
            if not shape or min(shape) < 1 or shape[0] != self._largest:
                raise DeployError(
                    f"{self.path}: {name} has shape {shape}, expected {self._largest} images: build again"
                )
            self._tensors[name] = _Tensor(name, shape, self._dtype(trt, name), self._cuda)
            if not self._context.set_tensor_address(name, self._tensors[name].device):
                raise DeployError(f"TensorRT rejected the memory of {name}: {self._logger.said()}")

    def _dtype(self, trt: Any, name: str) -> str:
        found = self._engine.get_tensor_dtype(name)
        for label, dtype in _DTYPES.items():
            if found == getattr(trt.DataType, label, None):
                return dtype
        raise DeployError(
            f"{self.path}: {name} has type {found}, expected one of {list(_DTYPES)}: export again"
        )

    def run(self, images: np.ndarray, names: List[str]) -> Dict[str, np.ndarray]:
        """Return the outputs ``names`` for a batch; one larger than the engine's is run in parts."""
        starts = range(0, max(len(images), 1), self._largest)
        parts = [self._run_part(images[i : i + self._largest], names) for i in starts]
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def close(self) -> None:
        """Free the context; its memory belongs to CUDA's owner and goes after it."""
        self._context = self._engine = None
        self._tensors, self._graph = {}, None

    def _run_part(self, images: np.ndarray, names: List[str]) -> Dict[str, np.ndarray]:
        batch = len(images)
        results = {name: self._tensors[name].host[:batch] for name in names}
        if batch:
            np.copyto(self._tensors[self._input].host[:batch], images, casting="same_kind")
            # A graph is recorded with fixed shapes, so there is only one, for the largest batch.
            self._compute(self._largest if self.cuda_graph else batch)
        return {name: _result(values) for name, values in results.items()}

    def _compute(self, batch: int) -> None:
        if batch != self._batch:
            self._set_shape((batch, *self.shape[1:]))
            self._batch = batch
        cuda = self._cuda
        if self.cuda_graph and self._graph is None:
            # The first run does one-time setup, which must not be recorded.
            self._enqueue(batch)
            cuda.synchronize(self._stream)
            self._graph = cuda.capture(self._stream, lambda: self._enqueue(batch))
        if self._graph is not None:
            cuda.launch(self._graph, self._stream)
        else:
            self._enqueue(batch)
        cuda.synchronize(self._stream)

    def _enqueue(self, batch: int) -> None:
        """Enqueue the copy to the device, the network, and the copies back."""
        for name, memory in self._tensors.items():
            address, num_bytes = memory.host.ctypes.data, memory.num_bytes(batch)
            if name == self._input:
                self._cuda.copy_async(memory.device, address, num_bytes, TO_DEVICE, self._stream)
                if not self._context.execute_async_v3(self._stream):
                    raise DeployError(f"TensorRT failed on {self.path}: {self._logger.said()}")
            else:
                self._cuda.copy_async(address, memory.device, num_bytes, TO_HOST, self._stream)

    def _set_shape(self, shape: Tuple[int, ...]) -> None:
        if not self._context.set_input_shape(self._input, shape):
            raise DeployError(f"TensorRT rejected a batch of {list(shape)}: {self._logger.said()}")


def named_tensors(trt: Any, loaded: Any) -> Tuple[List[str], List[str]]:
    """Return the names of an engine's inputs and outputs."""
    names = [loaded.get_tensor_name(index) for index in range(loaded.num_io_tensors)]
    inputs = [name for name in names if loaded.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return inputs, [name for name in names if name not in inputs]


def _result(values: np.ndarray) -> np.ndarray:
    """Return a copy as float32, or int32 for positions; the next run overwrites the buffer."""
    return values.astype(np.int32 if values.dtype.kind in "iub" else np.float32)
