"""From a photo to people with an exported network: NumPy, OpenCV and the backend only (no torch, Python 3.8).

Source of the geometry: ``ehrpose.image_warp``; of the decoding: the codec that the network was trained with.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union

import numpy as np

from ehrpose.deploy.network_input import Image, prepare_image
from ehrpose.deploy.sidecar import DeployError, read_sidecar
from ehrpose.registry import BACKENDS, CODECS
from ehrpose.structures import Maps, PeakMaps, People, invert_warp

__all__ = ["PoseRuntime"]


class PoseRuntime:
    """An exported network with everything around it; call it with a photo.

    Args:
        path: The exported file (``end2end.onnx``, ...), with its JSON beside it.
        backend: Name in BACKENDS; None is the one that the network was exported for.
        num_threads: Threads of the network on the CPU; None is the backend's own choice.
        codec_options: Arguments that replace those of the codec, e.g. ``{"mode": "paper"}``.
        **backend_options: More arguments of the backend.

    Raises:
        FileNotFoundError: The network or its JSON is missing.
        DeployError: The network cannot be used, or the backend is not installed.

    Examples:
        >>> with PoseRuntime("work_dirs/deploy/end2end.onnx") as runtime:
        ...     people = runtime("photo.jpg")
    """

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        backend: Optional[str] = None,
        num_threads: Optional[int] = None,
        codec_options: Optional[Dict[str, Any]] = None,
        **backend_options: Any,
    ):
        name = backend or read_sidecar(path, check_hashes=False).backend
        if name not in BACKENDS:
            raise DeployError(f"unknown backend {name!r}, wanted one of {sorted(BACKENDS.module_dict)}")
        self.backend = BACKENDS.build(
            {"type": name, "path": str(path), "num_threads": num_threads, **backend_options}
        )
        self.sidecar = self.backend.sidecar
        self.codec = CODECS.build({**self.sidecar.codec, **(codec_options or {})})
        if self.sidecar.decode == "peaks" and self.codec.mode != "fast":
            raise DeployError(
                f"{path} gives candidates, which are decoded in mode 'fast', got {self.codec.mode!r}: export with "
                "`decode='none'`, or leave the mode"
            )

    @property
    def path(self) -> Path:
        """The network's file."""
        return Path(self.backend.path)

    def __call__(self, image: Image) -> People:
        """Return the people of one photo, in its pixels, best first.

        Args:
            image: File name, or (H, W, 3) uint8 BGR array.

        Raises:
            ImageReadError: The file is missing or no photo.
            ValueError: An array of another shape or type.
        """
        return self.predict([image])[0]

    def predict(self, images: Sequence[Image]) -> List[People]:
        """Return the people of each photo; as many at a time as the network takes."""
        people: List[People] = []
        dynamic = self.sidecar.input.get("dynamic_batch", False)
        size = max(len(images), 1) if dynamic else self.sidecar.batch_size
        for start in range(0, len(images), size):
            part = images[start : start + size]
            prepared = [self.prepare(image) for image in part]
            batch = np.stack([pixels for pixels, _ in prepared])
            if not dynamic and len(batch) < size:  # the network's batch is fixed: fill it up
                batch = np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
            maps = self.run(batch)
            for index, (_, warp) in enumerate(prepared):
                people.append(self.decode(maps.image(index)).warped(invert_warp(warp)))
        return people

    def prepare(self, image: Image) -> Tuple[np.ndarray, np.ndarray]:
        """Return one image as the network takes it, without the batch axis, and the (2, 3) warp from the photo."""
        return prepare_image(image, self.sidecar)

    def run(self, batch: np.ndarray) -> Union[Maps, PeakMaps]:
        """Run the network on a batch of prepared images."""
        kind: Any = PeakMaps if self.sidecar.decode == "peaks" else Maps
        return kind(**self.backend.run(batch))

    def decode(self, maps: Union[Maps, PeakMaps]) -> People:
        """Return the people of one image's maps or candidates, in pixels of the network's input."""
        if isinstance(maps, PeakMaps):
            return self.codec.decode_peaks(maps, self.sidecar.size_wh)
        return self.codec.decode(maps)

    def warm_up(self, runs: int = 2) -> None:
        """Run on a black image, so that the first photo does not wait for what is done once."""
        black = np.zeros((8, 8, 3), np.uint8)
        for _ in range(runs):
            self(black)

    def close(self) -> None:
        """Give the network's memory back."""
        self.backend.close()

    def __enter__(self) -> PoseRuntime:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()
