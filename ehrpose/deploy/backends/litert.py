"""LiteRT, formerly TensorFlow Lite, for phones and small boards (no torch; imports on Python 3.8)."""

from __future__ import annotations

import threading
from typing import Any, Dict, Tuple

import numpy as np

from ehrpose.cpu import available_cores
from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.network_input import batch_wh
from ehrpose.deploy.sidecar import INPUT_NAME, DeployError
from ehrpose.registry import BACKENDS
from ehrpose.threads import default_threads


@BACKENDS.register_module(name="litert")
class LiteRtBackend(Backend):
    """Run a ``.tflite`` file, which has one signature for each shape of the input; see ``Backend``.

    Threads take turns. If the sidecar allows any batch, the images of a batch are run one after the other.

    Args:
        path: See ``Backend``.
        num_threads: CPU threads; None: ``OMP_NUM_THREADS``, or as many as there are cores that this process may use.
        check_hashes: See ``Backend``.
        device: ``"cpu"``, or None.
    """

    name = "litert"

    def _load(self) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise self._missing(error) from error
        threads = self.num_threads or default_threads() or available_cores()
        try:
            interpreter = Interpreter(model_path=str(self.path), num_threads=threads)
            signatures = interpreter.get_signature_list()
        except (RuntimeError, ValueError) as error:
            raise DeployError(f"LiteRT cannot load {self.path}: {_first_line(error)}") from error
        wanted = {signature_name(size_wh) for size_wh in self.sidecar.shapes_wh}
        for name in wanted:
            found = signatures.get(name, {"inputs": [], "outputs": []})
            if found["inputs"] != [INPUT_NAME] or set(found["outputs"]) != set(self.sidecar.outputs):
                raise DeployError(
                    f"{self.path}: expected a signature {name} with the outputs {list(self.sidecar.outputs)} as in its "
                    f"JSON, got {signatures}: export again"
                )
        self._lock = threading.Lock()
        self._interpreter: Any = interpreter
        self._runners = {name: interpreter.get_signature_runner(name) for name in wanted}

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        size = 1 if self.sidecar.input.get("dynamic_batch") else len(images)
        parts = [images[start : start + size] for start in range(0, len(images), size)]
        with self._lock:
            if self._interpreter is None:
                raise DeployError(f"{self.path} was closed")
            runner = self._runners[signature_name(batch_wh(images.shape, self.sidecar))]
            try:
                found = [runner(**{INPUT_NAME: part}) for part in parts]
            except (RuntimeError, ValueError) as error:
                raise DeployError(f"LiteRT failed on {self.path}: {_first_line(error)}") from error
        return {name: np.concatenate([maps[name] for maps in found]) for name in self.sidecar.outputs}

    def close(self) -> None:
        lock = getattr(self, "_lock", None)
        if lock is not None:
            with lock:
                self._interpreter, self._runners = None, {}


def signature_name(size_wh: Tuple[int, int]) -> str:
    """Return the name of the signature for inputs of a width and height, px."""
    return f"h{size_wh[1]}w{size_wh[0]}"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
