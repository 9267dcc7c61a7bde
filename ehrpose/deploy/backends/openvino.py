"""OpenVINO, the fastest backend on x86 CPUs (no torch)."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional, Union

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.deploy.signal_stack import kept_signal_stack
from ehrpose.registry import BACKENDS

HINTS = ("latency", "throughput")
PRECISIONS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8": "f32"}


@BACKENDS.register_module(name="openvino")
class OpenVinoBackend(Backend):
    """Run an ``.onnx`` or ``.xml`` file with OpenVINO on the CPU; see ``Backend``.

    Args:
        path: The network's file, with its JSON sidecar next to it.
        num_threads: CPU threads; None: OpenVINO's default.
        check_hashes: Verify the hashes of the files first.
        hint: ``"latency"`` or ``"throughput"``.
        precision: Type of the arithmetic, ``"fp32"``, ``"bf16"``, ...; None: as in the sidecar.

    Attributes:
        used_precision: Type that OpenVINO computes in, ``"f32"``, ``"bf16"``, ``"f16"``: float32 if the CPU does not
            support the requested one.
    """

    name = "openvino"
    package = "openvino"
    suffixes = (".xml", ".onnx")

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        num_threads: Optional[int] = None,
        check_hashes: bool = True,
        hint: str = "latency",
        precision: Optional[str] = None,
    ):
        if hint not in HINTS:
            raise ValueError(f"hint must be one of {HINTS}, got {hint!r}")
        if precision is not None and precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {tuple(PRECISIONS)}, got {precision!r}")
        self.hint, self.precision = hint, precision
        super().__init__(path, num_threads, check_hashes)

    def _load(self) -> None:
        try:
            import openvino
        except ImportError as error:
            raise self._missing(error) from error
        settings: Dict[str, Any] = {
            "PERFORMANCE_HINT": self.hint.upper(),
            "INFERENCE_PRECISION_HINT": PRECISIONS[self.precision or self.sidecar.precision],
        }
        if self.num_threads is not None:
            settings["INFERENCE_NUM_THREADS"] = self.num_threads
        try:
            with kept_signal_stack():
                core = openvino.Core()
                compiled = core.compile_model(core.read_model(str(self.path)), "CPU", settings)
                self._request: Any = compiled.create_infer_request()
                self.used_precision = _type_name(compiled.get_property("INFERENCE_PRECISION_HINT"))
        except RuntimeError as error:
            raise DeployError(f"OpenVINO cannot load {self.path}: {str(error).splitlines()[-1]}") from error
        self._outputs: Dict[str, Any] = {
            name: output for output in compiled.outputs for name in output.get_names()
        }
        missing = [name for name in self.sidecar.outputs if name not in self._outputs]
        if missing:
            raise DeployError(f"{self.path} lacks the outputs {missing} that its JSON lists: export again")

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        if self._request is None:
            raise DeployError(f"{self.path} was closed")
        try:
            results = self._request.infer([images], share_inputs=True)
        except RuntimeError as error:
            raise DeployError(f"OpenVINO failed on {self.path}: {str(error).splitlines()[-1]}") from error
        # Copied, as the next run overwrites the request's memory.
        return {name: np.array(results[self._outputs[name]]) for name in self.sidecar.outputs}

    def close(self) -> None:
        with kept_signal_stack():
            self._request = None
            self._outputs = {}


def _type_name(precision: Any) -> str:
    """Return OpenVINO's name of a type."""
    return str(precision.get_type_name() if hasattr(precision, "get_type_name") else precision)
