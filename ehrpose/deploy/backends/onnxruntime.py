"""ONNX Runtime, the default backend: small, exact, portable (no torch, Python 3.8)."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.registry import BACKENDS


@BACKENDS.register_module(name="onnxruntime")
class OnnxRuntimeBackend(Backend):
    """Run an ``.onnx`` file with ONNX Runtime on the CPU; see ``Backend``."""

    name = "onnxruntime"
    package = "onnxruntime"
    suffixes = (".onnx",)
    processor = "the CPU (CPUExecutionProvider)"

    def _load(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise self._missing(error) from error
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self.num_threads is not None:
            options.intra_op_num_threads = self.num_threads
        try:
            self._session: Any = onnxruntime.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime does not export its exception types
            raise DeployError(f"ONNX Runtime cannot load {self.path}: {_first_line(error)}") from error
        self._names = [output.name for output in self._session.get_outputs()]
        (self._input,) = (i.name for i in self._session.get_inputs())
        if self._names != list(self.sidecar.outputs):
            raise DeployError(
                f"{self.path}: expected outputs {list(self.sidecar.outputs)} as in its JSON, got {self._names}: "
                "export again"
            )

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        session = self._session  # another thread may close it; runs themselves share no state
        if session is None:
            raise DeployError(f"{self.path} was closed")
        try:
            return dict(zip(self._names, session.run(self._names, {self._input: images})))
        except Exception as error:
            raise DeployError(f"ONNX Runtime failed on {self.path}: {_first_line(error)}") from error

    @property
    def used_precision(self) -> str:
        """See ``Backend``; bfloat16 is chosen when other backends load, the file itself is float32."""
        return "fp32" if self.sidecar.precision == "bf16" else self.sidecar.precision

    def close(self) -> None:
        self._session = None


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
