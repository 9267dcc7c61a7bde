"""TensorRT 8.5 to 11, and TensorRT-RTX: one runner over named tensors (no torch, Python 3.8)."""

from __future__ import annotations

import os
import threading
from typing import Any, Dict, Optional, Tuple, Union

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.network_input import batch_wh
from ehrpose.deploy.sidecar import DeployError
from ehrpose.deploy.tensorrt.cuda import Cuda
from ehrpose.deploy.tensorrt.engine_info import check_engine
from ehrpose.deploy.tensorrt.execution import Execution, named_tensors
from ehrpose.deploy.tensorrt.network import create, import_tensorrt, make_logger
from ehrpose.registry import BACKENDS


@BACKENDS.register_module(name="tensorrt")
class TensorRTBackend(Backend):
    """Run an ``.engine`` file with TensorRT on the GPU; see ``Backend``.

    Several threads may call ``run``; they take turns. Batches larger than the engine's are run in parts. Of an engine
    for several input sizes each has a context and memory of its own.

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
        self._runtime: Any = None
        self._executions: Dict[Tuple[int, ...], Execution] = {}  # by the input's shape without the batch
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
        self._prepare(trt, self._cuda)

    def _prepare(self, trt: Any, cuda: Cuda) -> None:
        inputs, outputs = named_tensors(trt, self._engine)
        expected = list(self.sidecar.outputs)
        if sorted(outputs) != sorted(expected) or len(inputs) != 1:
            raise DeployError(
                f"{self.path}: expected one input and outputs {expected} as in its JSON, got {inputs} and {outputs}: "
                "build again"
            )
        for profile in range(self._engine.num_optimization_profiles):
            one = Execution(trt, cuda, self._logger, self._engine, self.path, profile, self.cuda_graph)
            self._executions[one.shape[1:]] = one
        sizes = {batch_wh(shape, self.sidecar) for shape in self._executions}
        if sizes != set(self.sidecar.shapes_wh) or len(sizes) != len(self._executions):
            raise DeployError(
                f"{self.path}: expected images of {self.sidecar.shapes_wh} px as in its JSON, got {sorted(sizes)}: "
                "build again"
            )

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        with self._lock:
            if self._cuda is None:
                raise DeployError(f"{self.path} was closed")
            return self._executions[images.shape[1:]].run(images, list(self.sidecar.outputs))

    def close(self) -> None:
        with self._lock:
            # TensorRT's objects first: they use the stream and the memory, and must be released in this order.
            for execution in self._executions.values():
                execution.close()
            self._executions = {}
            self._engine = None
            self._runtime = None
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
