"""RKNN, the neural processors of Rockchip's boards (no torch, Python 3.8)."""

from __future__ import annotations

import threading
from typing import Any, Dict, Optional

import numpy as np

from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError
from ehrpose.registry import BACKENDS


@BACKENDS.register_module(name="rknn")
class RknnBackend(Backend):
    """Run an ``.rknn`` file on the board's neural processor; see ``Backend``. Threads take turns.

    Args:
        path: See ``Backend``.
        num_threads: No effect, as the network does not run on the CPU.
        check_hashes: See ``Backend``.
        device: ``"npu"``, or None.
    """

    name = "rknn"
    devices = ("npu",)
    processor = "Rockchip's neural processor"

    def _load(self) -> None:
        try:
            from rknnlite.api import RKNNLite
        except ImportError as error:
            raise self._missing(error) from error
        self._lock = threading.Lock()
        network: Any = RKNNLite()
        # Both print their reasons.
        if network.load_rknn(str(self.path)) or network.init_runtime():
            raise DeployError(
                f"RKNN cannot load {self.path}, see above: expected a file for this board's chip: export again with "
                "`target`"
            )
        self._network: Optional[Any] = network

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        with self._lock:
            if self._network is None:
                raise DeployError(f"{self.path} was closed")
            found = self._network.inference([images], data_type=["float32"], data_format=["nchw"])
        if found is None or len(found) != len(self.sidecar.outputs):
            raise DeployError(f"RKNN failed on {self.path}: see what it printed above")
        return {name: np.asarray(values, np.float32) for name, values in zip(self.sidecar.outputs, found)}

    def close(self) -> None:
        with self._lock:
            network, self._network = self._network, None
        if network is not None:
            network.release()
