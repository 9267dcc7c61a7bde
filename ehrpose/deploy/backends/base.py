"""The interface of all backends (no torch, Python 3.8)."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, Optional, Tuple, Type, Union

import numpy as np

from ehrpose.backend_table import BACKEND_TABLE
from ehrpose.deploy.network_input import batch_wh
from ehrpose.deploy.sidecar import DeployError, MissingEngineError, Sidecar, read_sidecar


class Backend:
    """One loaded network.

    Subclasses load it in ``_load`` and run it in ``_run``.

    Threads: several may call ``run`` at once; each gets the result of its own images, equal to what one thread gets.
    ``_run`` is called without a lock: a subclass whose library keeps the state of a run gives each thread its own, or
    lets threads take turns. ``close`` may be called while others run: they finish, or get DeployError.

    Args:
        path: The network's file, with its JSON sidecar next to it.
        num_threads: CPU threads; None: the backend's default.
        check_hashes: Verify the hashes of the files first.
        device: Device to run on; one that the backend does not run on is refused. None: the backend's own.

    Attributes:
        device: Device that the network runs on, ``"cpu"``, ``"cuda:0"``, ...

    Raises:
        FileNotFoundError: The network or its sidecar is missing.
        DeployError: The network cannot be used; the message says what to do.
    """

    #: Name in BACKENDS. The package to install with pip and the endings of its files are those in BACKEND_TABLE; a
    #: backend that is not there states its own.
    name = ""
    package = ""
    suffixes: Tuple[str, ...] = ()
    #: Names of the only device that it runs on, and what computes there.
    devices: Tuple[str, ...] = ("cpu", "cpu:0")
    processor = "the CPU"
    #: Whether the first run of an input size takes much longer than the next, so that it is done while opening.
    first_run_is_slow = True

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        num_threads: Optional[int] = None,
        check_hashes: bool = True,
        device: Optional[str] = None,
    ):
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads must be at least 1 (or None), got {num_threads}")
        self.path = Path(path)
        if self.path.suffix not in self.suffixes:
            raise DeployError(f"{self.name} runs {' or '.join(self.suffixes)} files, got {self.path}")
        self.num_threads = num_threads
        self.device = self._checked_device(device)
        self.sidecar: Sidecar = read_sidecar(self.path, check_hashes)
        self._load()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        info = BACKEND_TABLE.get(cls.name)
        if info is not None and "name" in vars(cls):
            cls.package, cls.suffixes = " ".join(info.packages), info.suffixes

    def run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        """Run the network.

        Args:
            images: Batch of the shape and type given by ``sidecar.input``, values 0 to 255.

        Returns:
            Output name to float32 array (int32 for positions of peaks).

        Raises:
            ValueError: The shape or type is wrong.
            DeployError: The backend fails.
        """
        self._check(images)
        return self._run(np.ascontiguousarray(images))

    @property
    def used_precision(self) -> str:
        """Type that the network really computes in: ``"fp32"``, ``"bf16"``, ...; most first: ``"int8+fp32"``."""
        return self.sidecar.precision

    def close(self) -> None:
        """Free the network's memory. A second call has no effect; ``run`` afterwards is an error."""

    def __enter__(self) -> Backend:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def _load(self) -> None:
        raise NotImplementedError

    def _run(self, images: np.ndarray) -> Dict[str, np.ndarray]:
        raise NotImplementedError

    def _check(self, images: np.ndarray) -> None:
        sidecar, shape = self.sidecar, images.shape
        expected, dtype = list(sidecar.input["shape"]), sidecar.input["dtype"]
        dynamic = sidecar.input.get("dynamic_batch", False)
        fits = len(shape) == 4 and str(images.dtype) == dtype and (dynamic or shape[0] == expected[0])
        if fits:
            size_wh = batch_wh(shape, sidecar)
            channels = shape[1] if sidecar.input["layout"] == "NCHW" else shape[3]
            fits = channels == 3 and sidecar.takes(size_wh)
        if not fits:
            raise ValueError(
                f"expected {dtype} images of shape {_accepted(sidecar)}, got {images.dtype} {list(shape)}"
            )

    def _checked_device(self, device: Optional[str]) -> str:
        """Return the device to run on; refuse one that the backend would ignore."""
        if device is None or str(device) in self.devices:
            return self.devices[0]
        other = (
            "tensorrt or torch for a GPU" if "cpu" in self.devices else "onnxruntime or openvino for the CPU"
        )
        raise DeployError(
            f"{self.name} runs {self.path.name} on {self.processor}: expected `device` {self.devices[0]!r} or none, "
            f"got {str(device)!r}; export it for the backend {other}"
        )

    def _missing(self, error: ImportError) -> MissingEngineError:
        return MissingEngineError(f"{self.name} is not installed ({error}): pip install {self.package}")


def _accepted(sidecar: Sidecar) -> str:
    """Return the shapes that a network takes, as text."""
    batch = "any" if sidecar.input.get("dynamic_batch") else str(sidecar.batch_size)
    sizes = [(str(h), str(w)) for w, h in sidecar.shapes_wh] or [("height", "width")]
    order = "{0}, 3, {1}, {2}" if sidecar.input["layout"] == "NCHW" else "{0}, {1}, {2}, 3"
    texts = [f"[{order.format(batch, *size)}]" for size in sizes]
    if sidecar.sides is None:
        return " or ".join(texts)
    divisor, offset = sidecar.sides["divisor"], sidecar.sides.get("offset", 0)
    plus = f" plus {offset}" if offset else ""
    return f"{texts[0]}, multiples of {divisor if divisor % 32 else 32}{plus} px"
