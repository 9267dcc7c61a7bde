"""ONNX Runtime, the default backend: small, exact, portable (no torch, Python 3.8)."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.registry import BACKENDS
from ehrpose.threads import SHORT_SPIN_US, default_threads, wait_policy

Provider = Union[str, Tuple[str, Dict[str, Any]]]

# Device to execution provider, the option that takes the number after a colon, and the package that has it.
_PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "", "onnxruntime"),
    "cuda": ("CUDAExecutionProvider", "device_id", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "device_id", "onnxruntime-gpu"),
    "openvino": ("OpenVINOExecutionProvider", "device_type", "onnxruntime-openvino"),
    "directml": ("DmlExecutionProvider", "device_id", "onnxruntime-directml"),
    "coreml": ("CoreMLExecutionProvider", "", "onnxruntime"),
    "qnn": ("QNNExecutionProvider", "", "onnxruntime-qnn"),
    "rocm": ("MIGraphXExecutionProvider", "device_id", "onnxruntime-migraphx"),
}
_CPU = "CPUExecutionProvider"
# The first that has operators of opset 13, and sessions with the options below.
_OLDEST = (1, 6)
# What the messages of versions that are too old for a file speak of.
_TOO_OLD = ("opset", "IR version", "format version")


@BACKENDS.register_module(name="onnxruntime")
class OnnxRuntimeBackend(Backend):
    """Run an ``.onnx`` file with ONNX Runtime; see ``Backend``.

    Args:
        path: See ``Backend``.
        num_threads: CPU threads; None: ``OMP_NUM_THREADS``, or at most as many as there are cores that this process
            may use, also in a container. Threads that wait spin for 20 us; with ``OMP_WAIT_POLICY=passive`` they sleep,
            with ``active`` they spin as long as ONNX Runtime lets them.
        check_hashes: See ``Backend``.
        device: ``"cpu"``, ``"cuda:0"``, ``"tensorrt:0"``, ``"openvino:GPU"``, ``"directml:0"``, ``"coreml"``,
            ``"qnn"`` or ``"rocm:0"``: the execution provider, which the installed package must have. None: the CPU.
        providers: Execution providers by ONNX Runtime's names, alone or with a dict of options, instead of ``device``.

    Attributes:
        providers: Names of the providers that the session really has, in order; the CPU takes what the first cannot.

    Raises:
        DeployError: Also if the first provider is not installed, or falls back to another without an error.
    """

    name = "onnxruntime"
    first_run_is_slow = False

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        num_threads: Optional[int] = None,
        check_hashes: bool = True,
        device: Optional[str] = None,
        providers: Optional[Sequence[Provider]] = None,
    ):
        if device is not None and providers:
            raise ValueError(
                f"expected a device or a list of providers, got both: {device!r} and {list(providers)!r}"
            )
        self._wanted: List[Provider] = list(providers or [])
        self.providers: List[str] = []
        super().__init__(path, num_threads, check_hashes, device)

    def _checked_device(self, device: Optional[str]) -> str:
        if self._wanted:
            return ", ".join(_name(provider) for provider in self._wanted)
        device = "cpu" if device is None else str(device)
        kind, _, place = device.partition(":")
        if kind not in _PROVIDERS or (kind == "cpu" and place not in ("", "0")):
            raise DeployError(
                f"onnxruntime runs {self.path.name} on the CPU ({_CPU}) unless another device is named: expected "
                f"`device` as one of {', '.join(_PROVIDERS)}, some with a number (cuda:0), got {device!r}"
            )
        name, option, _ = _PROVIDERS[kind]
        self._wanted = [(name, {option: place}) if place and option else name]
        return "cpu" if kind == "cpu" else device

    def _load(self) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise self._missing(error) from error
        options = session_options(self.num_threads)
        first = _name(self._wanted[0])
        self._check_installed(first, onnxruntime.get_available_providers())
        wanted = self._wanted if _CPU in map(_name, self._wanted) else [*self._wanted, _CPU]
        try:
            self._session: Any = onnxruntime.InferenceSession(str(self.path), options, providers=wanted)
        except Exception as error:  # ONNX Runtime does not export its exception types
            raise DeployError(self._why_not_loaded(onnxruntime.__version__, _first_line(error))) from error
        self.providers = list(self._session.get_providers())
        if self.providers[0] != first:  # it prints why and goes on with what is left
            raise DeployError(
                f"ONNX Runtime could not start {first} for {self.path.name} and would run on {self.providers[0]}: "
                "install what that provider needs, or choose `device` 'cpu'"
            )
        self._names = [output.name for output in self._session.get_outputs()]
        (self._input,) = (i.name for i in self._session.get_inputs())
        if self._names != list(self.sidecar.outputs):
            raise DeployError(
                f"{self.path}: expected outputs {list(self.sidecar.outputs)} as in its JSON, got {self._names}: "
                "export again"
            )

    def _why_not_loaded(self, version: str, message: str) -> str:
        if not any(word in message for word in _TOO_OLD):
            return f"ONNX Runtime cannot load {self.path}: {message}"
        made = self.sidecar.versions.get("onnxruntime", "another version")
        return (
            f"ONNX Runtime {version} is too old for {self.path}, which was exported with {made}: pip install -U "
            "onnxruntime, or export again with `opset` 13"
        )

    def _check_installed(self, provider: str, installed: Sequence[str]) -> None:
        if provider in installed:
            return
        package = next((p for name, _, p in _PROVIDERS.values() if name == provider), None)
        advice = f"pip install {package}, in place of onnxruntime" if package else "choose one of these"
        raise DeployError(
            f"the installed onnxruntime has no {provider}, only {', '.join(installed)}: {advice}; {self.path.name} "
            f"runs on {_CPU} with `device` 'cpu' or none"
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


def session_options(num_threads: Optional[int]) -> Any:
    """Return options for a session: quiet, with ``num_threads``; None: as for ``OnnxRuntimeBackend``.

    Raises:
        DeployError: ONNX Runtime is too old.
    """
    import onnxruntime

    version = tuple(map(int, re.findall(r"\d+", onnxruntime.__version__)[:2]))
    if version < _OLDEST:
        raise DeployError(
            f"expected ONNX Runtime {'.'.join(map(str, _OLDEST))} or newer, got {onnxruntime.__version__}: "
            "pip install -U onnxruntime"
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    threads = num_threads or default_threads()
    if threads is not None:
        options.intra_op_num_threads = threads
    if wait_policy() == "passive":
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    elif not wait_policy():
        # Versions that do not know the key ignore it; their threads spin for milliseconds.
        options.add_session_config_entry("session.intra_op.spin_duration_us", str(SHORT_SPIN_US))
    return options


def _name(provider: Provider) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
