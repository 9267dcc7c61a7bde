"""Inference with an exported network, from photo to people: NumPy, OpenCV and the backend only (no torch, Python 3.8).

The geometry is that of ``ehrpose.image_warp``, the decoding that of the codec the network was trained with.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union

import numpy as np

import ehrpose.deploy.backends  # noqa: F401  (registers them)
from ehrpose.deploy.network_input import Image, batch_wh, prepare_image
from ehrpose.deploy.sidecar import DeployError, build_codec, read_sidecar
from ehrpose.registry import BACKENDS
from ehrpose.structures import People, invert_warp

__all__ = ["PoseRuntime"]

CLASSIFIER_CODEC = "ClassScores"


class PoseRuntime:
    """An exported network with pre- and postprocessing; call it with a photo. Several threads may call it at once.

    Args:
        path: The exported file (``end2end.onnx``, ...), with its JSON sidecar next to it.
        backend: Name in BACKENDS; None: the one that the network was exported for.
        num_threads: CPU threads of the network; None: the backend's default.
        codec_options: Arguments that override those of the codec, e.g. ``{"mode": "paper"}``.
        trust_pt2: Open a ``.pt2`` file, which may run any code in it; without, it is refused.
        **backend_options: Further arguments of the backend, such as ``device``.

    Raises:
        FileNotFoundError: The network or its sidecar is missing.
        DeployError: The network cannot be used, or the backend is not installed.

    Examples:
        >>> with PoseRuntime("work_dirs/deploy/end2end.onnx") as runtime:
        ...     people = runtime("photo.jpg")
    """

    finds_people = True

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        backend: Optional[str] = None,
        num_threads: Optional[int] = None,
        codec_options: Optional[Dict[str, Any]] = None,
        trust_pt2: bool = False,
        **backend_options: Any,
    ):
        name = backend or read_sidecar(path, check_hashes=False).backend
        if name not in BACKENDS.module_dict:  # `in BACKENDS` would import a module of that name
            raise DeployError(f"unknown backend {name!r}, expected one of {sorted(BACKENDS.module_dict)}")
        if name == "torch":
            backend_options["trust_pt2"] = trust_pt2
        self.backend = BACKENDS.build(
            {"type": name, "path": str(path), "num_threads": num_threads, **backend_options}
        )
        self.sidecar = self.backend.sidecar
        if self.sidecar.codec["type"] == CLASSIFIER_CODEC and self.finds_people:
            raise DeployError(f"{path} is a classifier, which finds no people: use ehrpose classify")
        self.codec = build_codec(self.sidecar, path, codec_options)
        peaks = self.sidecar.decode == "peaks"
        problem = self.codec.why_no_peaks() if peaks else None
        if problem is not None:
            raise DeployError(
                f"{path} outputs candidates: {problem}: export with `decode='none'`, or use the codec's default options"
            )
        self._outputs: Any = self.codec.peaks_type if peaks else self.codec.maps_type
        needed = list(self._outputs._fields if peaks else self.codec.output_names)
        if sorted(needed) != sorted(self.sidecar.outputs):
            raise DeployError(
                f"the JSON of {path}: outputs: expected {needed}, which the codec decodes, got "
                f"{list(self.sidecar.outputs)}: export again"
            )

    @property
    def precision(self) -> str:
        """Precision of the file, and where the backend really computes in another: ``"fp16, computed in bf16"``."""
        used, stated = self.backend.used_precision, self.sidecar.precision
        return used if used.split("+")[0] == stated else f"{stated}, computed in {used}"

    @property
    def path(self) -> Path:
        """The network's file."""
        return Path(self.backend.path)

    def __call__(self, image: Image) -> People:
        """Return the people of one photo, in photo px, best score first.

        Args:
            image: File name, or (H, W, 3) uint8 BGR array.

        Raises:
            ImageReadError: The file is missing or not a photo.
            ValueError: An array has the wrong shape or type.
        """
        return self.predict([image])[0]

    def predict(self, images: Sequence[Image]) -> List[People]:
        """Return the people of each photo, in batches of the network's size; those of one batch have one input size."""
        people: List[Optional[People]] = [None] * len(images)
        dynamic = self.sidecar.input.get("dynamic_batch", False)
        size = max(len(images), 1) if dynamic else self.sidecar.batch_size
        waiting: Dict[Tuple[int, ...], List[Tuple[int, np.ndarray, np.ndarray]]] = {}
        for index, image in enumerate(images):
            pixels, warp = self.prepare(image)
            alike = waiting.setdefault(pixels.shape, [])
            alike.append((index, pixels, warp))
            if len(alike) == size:
                self._predict_batch(waiting.pop(pixels.shape), people)
        for alike in waiting.values():
            self._predict_batch(alike, people)
        return [found for found in people if found is not None]

    def _predict_batch(
        self, prepared: List[Tuple[int, np.ndarray, np.ndarray]], people: List[Optional[People]]
    ) -> None:
        """Run prepared photos of one size, and put the people of each at its place in ``people``."""
        batch = np.stack([pixels for _, pixels, _ in prepared])
        missing = 0 if self.sidecar.input.get("dynamic_batch") else self.sidecar.batch_size - len(batch)
        if missing:  # pad to the fixed batch size
            batch = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        maps, size_wh = self.run(batch), batch_wh(batch.shape, self.sidecar)
        for place, (index, _, warp) in enumerate(prepared):
            people[index] = self.decode(maps.image(place), size_wh).warped(invert_warp(warp))

    def prepare(self, image: Image) -> Tuple[np.ndarray, np.ndarray]:
        """Return one photo as network input, without the batch axis, and the (2, 3) warp from photo to input."""
        return prepare_image(image, self.sidecar)

    def run(self, batch: np.ndarray) -> Any:
        """Run the network on a batch of prepared images; return the codec's maps, or its candidates."""
        return self._outputs(**self.backend.run(batch))

    def decode(self, maps: Any, size_wh: Optional[Tuple[int, int]] = None) -> People:
        """Return the people of one image's maps or candidates, in input px.

        Args:
            maps: Output for one image.
            size_wh: Width and height of its input, px; None: those in the sidecar. Maps do not need it.
        """
        if self.sidecar.decode == "peaks":
            return self.codec.decode_peaks(maps, size_wh or self.sidecar.size_wh)
        return self.codec.decode(maps)

    def warm_up(self, runs: int = 2) -> None:
        """Run on a black image, so that one-time setup does not delay the first photo."""
        width, height = self.sidecar.size_wh
        for _ in range(runs):
            self(np.zeros((height, width, 3), np.uint8))

    def close(self) -> None:
        """Free the network's memory."""
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
