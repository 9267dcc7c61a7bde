"""MNN, for phones and Arm boards (no torch, Python 3.8)."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Any, Dict, Iterator

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.registry import BACKENDS
from ehrpose.threads import default_threads

# What MNN takes unless told otherwise.
_THREADS = 4


@BACKENDS.register_module(name="mnn")
class MnnBackend(Backend):
    """Run an ``.mnn`` file with MNN on the CPU; see ``Backend``. Threads take turns.

    It computes in float32; weights in float16 or int8 only make the file smaller. What MNN prints about the processor
    when it is loaded goes to the standard error, as the standard output may be a stream of results.

    Args:
        path: See ``Backend``.
        num_threads: CPU threads; None: ``OMP_NUM_THREADS``, the container's share, or 4, MNN's default.
        check_hashes: See ``Backend``.
        device: ``"cpu"``, or None.
    """

    name = "mnn"

    @property
    def used_precision(self) -> str:
        """``"fp32"``, whatever the weights are stored in."""
        return "fp32"

    def _load(self) -> None:
        with _prints_to_stderr():
            self._open()

    def _open(self) -> None:
        try:
            # Never MNN.tools: that runs pip and calls its maker's server when it is imported.
            import MNN
        except ImportError as error:
            raise self._missing(error) from error
        self._mnn = MNN
        self._lock = threading.Lock()
        config = {
            "backend": "CPU",
            "numThread": self.num_threads or default_threads() or _THREADS,
            "precision": "high",
        }
        try:
            self._manager: Any = MNN.nn.create_runtime_manager((config,))
            self._network: Any = MNN.nn.load_module_from_file(
                str(self.path), [self.sidecar.input["name"]], list(self.sidecar.outputs),
                runtime_manager=self._manager, dynamic=False, shape_mutable=True,
            )  # fmt: skip
        except (SystemError, RuntimeError, ValueError) as error:
            reason = error.__cause__ or error
            raise DeployError(f"MNN cannot load {self.path}: {reason}: export again") from error

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        expr = self._mnn.expr
        kind = expr.uint8 if images.dtype == np.uint8 else expr.float
        with self._lock:
            if self._network is None:
                raise DeployError(f"{self.path} was closed")
            pixels = expr.const(images, list(images.shape), expr.NCHW, kind)
            outputs = self._network.onForward([pixels])
            if len(outputs) != len(self.sidecar.outputs):
                raise DeployError(f"MNN failed on {self.path} with an input of shape {list(images.shape)}")
            # Copied, as the next run may use its memory again.
            found = [np.array(expr.convert(output, expr.NCHW).read()) for output in outputs]
        return dict(zip(self.sidecar.outputs, found))

    def close(self) -> None:
        with self._lock:
            self._network = self._manager = None


@contextlib.contextmanager
def _prints_to_stderr() -> Iterator[None]:
    """Send what libraries print to the standard output, by its number, to the standard error."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
