"""OpenCV's dnn, for machines that have OpenCV and nothing else (no torch, Python 3.8)."""

from __future__ import annotations

import re
import threading
from typing import Any, Dict, Tuple

import cv2
import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.registry import BACKENDS

# 4.5 has no Clip of opset 13. Candidates: up to 4.12 no TopK, and 4.13 computes wrong positions without an error.
_OLDEST, _OLDEST_PEAKS = (4, 8), (5, 0)


@BACKENDS.register_module(name="opencv")
class OpenCvBackend(Backend):
    """Run an ``.onnx`` file with ``cv2.dnn`` on the CPU; see ``Backend``. Threads take turns.

    Args:
        path: See ``Backend``.
        num_threads: CPU threads of **all** of OpenCV in this process, as OpenCV has one number; None: left as it is.
        check_hashes: See ``Backend``.
        device: ``"cpu"``, or None.

    Raises:
        DeployError: Also if this version of OpenCV is known not to run such a file, or to run it wrongly.
    """

    name = "opencv"

    def _load(self) -> None:
        self._lock = threading.Lock()
        self._check_version()
        if self.num_threads is not None:
            cv2.setNumThreads(self.num_threads)
        try:
            self._network: Any = cv2.dnn.readNetFromONNX(str(self.path))
        except cv2.error as error:
            raise DeployError(
                f"OpenCV {cv2.__version__} cannot load {self.path}: {_reason(error)}"
            ) from error

    def _check_version(self) -> None:
        version = opencv_version()
        needed = _OLDEST_PEAKS if self.sidecar.decode == "peaks" else _OLDEST
        if version >= needed:
            return
        oldest = ".".join(map(str, needed))
        other = "export with `decode='none'`" if version >= _OLDEST else "use the backend onnxruntime"
        raise DeployError(
            f"OpenCV {cv2.__version__} does not run {self.path.name}"
            f"{' correctly' if version >= (4, 13) else ''}: expected OpenCV {oldest} or newer for "
            f"{'candidates' if self.sidecar.decode == 'peaks' else 'maps'}: pip install -U {self.package}, or {other}"
        )

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        names = list(self.sidecar.outputs)
        with self._lock:
            if self._network is None:
                raise DeployError(f"{self.path} was closed")
            try:
                self._network.setInput(images, self.sidecar.input["name"])
                # Copied, as the next run overwrites its memory.
                found = [np.array(output) for output in self._network.forward(names)]
            except cv2.error as error:
                raise DeployError(
                    f"OpenCV {cv2.__version__} failed on {self.path}: {_reason(error)}"
                ) from error
        return dict(zip(names, found))

    def close(self) -> None:
        with self._lock:
            self._network = None


def opencv_version() -> Tuple[int, int]:
    """Return the first two numbers of OpenCV's version."""
    major, minor = re.findall(r"\d+", cv2.__version__)[:2]
    return int(major), int(minor)


def _reason(error: Exception) -> str:
    """Return the sentence of OpenCV's error, without file and line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"^OpenCV\(.*?\).*?error: ", "", lines[0]) if lines else type(error).__name__
