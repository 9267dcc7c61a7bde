"""Core ML, for Apple's devices (no torch, Python 3.8)."""

from __future__ import annotations

import platform
import tempfile
import threading
from pathlib import Path
from typing import Any, Dict, Optional

import numpy as np

from ehrpose.archives import ArchiveError, ArchiveLimits, unpack
from ehrpose.deploy.backends.base import Backend
from ehrpose.deploy.sidecar import DeployError, MissingEngineError
from ehrpose.registry import BACKENDS

# A package has three files.
_LIMITS = ArchiveLimits(max_files=100)


@BACKENDS.register_module(name="coreml")
class CoreMlBackend(Backend):
    """Run a ``.mlpackage.zip`` file with Core ML on macOS 13 or newer; see ``Backend``. Threads take turns.

    Core ML chooses the processor: CPU, GPU or neural engine. While the network is open, its package lies unpacked in a
    temporary folder.

    Args:
        path: See ``Backend``.
        num_threads: No effect: Core ML has no such option.
        check_hashes: See ``Backend``.
        device: ``"auto"``, or None.

    Raises:
        MissingEngineError: Also if this is not macOS.
    """

    name = "coreml"
    devices = ("auto",)
    processor = "the device that Core ML chooses"

    def _load(self) -> None:
        if platform.system() != "Darwin":
            raise MissingEngineError(
                f"Core ML runs on macOS, this is {platform.system()}: copy {self.path.name} and its JSON there"
            )
        try:
            import coremltools
        except ImportError as error:
            raise self._missing(error) from error
        self._lock = threading.Lock()
        self._folder: Optional[Any] = tempfile.TemporaryDirectory(prefix="ehrpose-")
        try:
            self._network: Any = coremltools.models.MLModel(
                str(unpacked_package(self.path, Path(self._folder.name)))
            )
        except Exception as error:  # of many types
            self._folder.cleanup()
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DeployError(f"Core ML cannot load {self.path}: {reason}") from error

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        with self._lock:
            if self._network is None:
                raise DeployError(f"{self.path} was closed")
            try:
                found = self._network.predict({self.sidecar.input["name"]: images})
            except RuntimeError as error:
                raise DeployError(f"Core ML failed on {self.path}: {error}") from error
        return {name: np.asarray(found[name], np.float32) for name in self.sidecar.outputs}

    def close(self) -> None:
        with self._lock:
            self._network = None
            folder, self._folder = self._folder, None
        if folder is not None:
            folder.cleanup()


def unpacked_package(path: Path, folder: Path) -> Path:
    """Unpack a ``.mlpackage.zip`` file into ``folder``, and return the package in it.

    Raises:
        DeployError: It holds something else, or is damaged.
    """
    try:
        unpack(path, folder, limits=_LIMITS)
    except ArchiveError as error:
        raise DeployError(f"{error}: export again") from error
    packages = sorted(folder.glob("*.mlpackage"))
    if len(packages) != 1:
        raise DeployError(f"{path}: expected one .mlpackage in it, got {len(packages)}: export again")
    return packages[0]
