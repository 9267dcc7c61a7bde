"""ExecuTorch, torch's runtime for phones and boards (imports on Python 3.8; its Python package wants torch)."""

from __future__ import annotations

import threading
from typing import Any, Dict, List

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.registry import BACKENDS
from ehrpose.threads import default_threads


@BACKENDS.register_module(name="executorch")
class ExecuTorchBackend(Backend):
    """Run a ``.pte`` file with ExecuTorch's XNNPACK on the CPU; see ``Backend``.

    Threads take turns. If the sidecar allows any batch, the images of a batch are run one after the other.

    Args:
        path: See ``Backend``.
        num_threads: CPU threads of **all** of ExecuTorch in this process, as it has one number; None:
            ``OMP_NUM_THREADS``, the container's share, or ExecuTorch's default.
        check_hashes: See ``Backend``.
        device: ``"cpu"``, or None.
    """

    name = "executorch"

    def _load(self) -> None:
        try:
            import torch
            from executorch.extension.pybindings import portable_lib
            from executorch.runtime import Runtime
        except ImportError as error:
            raise self._missing(error) from error
        threads = self.num_threads or default_threads()
        if threads is not None:
            portable_lib._unsafe_reset_threadpool(threads)  # there is no other way to set them
        self._torch: Any = torch
        try:
            program = Runtime.get().load_program(self.path)
            method: Any = program.load_method("forward")
            counts = (method.metadata.num_inputs(), method.metadata.num_outputs())
        except Exception as error:  # of many types, for files that are truncated or of another version
            made = self.sidecar.versions.get("executorch", "another version")
            raise DeployError(
                f"ExecuTorch cannot load {self.path}, written by {made}: {_first_line(error)}: export it again"
            ) from error
        if counts != (1, len(self.sidecar.outputs)):
            raise DeployError(
                f"{self.path}: expected an input and {len(self.sidecar.outputs)} outputs as in its JSON, got "
                f"{counts[0]} and {counts[1]}: export again"
            )
        self._lock = threading.Lock()
        self._method = method

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        size = 1 if self.sidecar.input.get("dynamic_batch") else len(images)
        with self._lock:
            if self._method is None:
                raise DeployError(f"{self.path} was closed")
            try:
                found = [self._one(images[start : start + size]) for start in range(0, len(images), size)]
            except RuntimeError as error:
                raise DeployError(
                    f"ExecuTorch failed on {self.path} with {list(images.shape)}: {_first_line(error)}"
                ) from error
        return {name: np.concatenate(parts) for name, parts in zip(self.sidecar.outputs, zip(*found))}

    def _one(self, images: np.ndarray) -> List[np.ndarray]:
        outputs = self._method.execute([self._torch.from_numpy(images)])
        arrays = [part.float() if part.is_floating_point() else part.int() for part in outputs]
        return [array.numpy() for array in arrays]

    def close(self) -> None:
        lock = getattr(self, "_lock", None)
        if lock is not None:
            with lock:
                self._method = None


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
