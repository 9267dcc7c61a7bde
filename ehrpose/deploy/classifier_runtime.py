"""Classifying photos with an exported network: NumPy, OpenCV and the backend only (no torch, Python 3.8)."""

from __future__ import annotations

from typing import Any, Tuple

import numpy as np

from ehrpose.codecs.class_scores import ClassScores
from ehrpose.deploy.network_input import Image
from ehrpose.deploy.runtime import PoseRuntime
from ehrpose.deploy.sidecar import DeployError
from ehrpose.image_io import check_image, read_image
from ehrpose.image_warp import warp_image

__all__ = ["ClassifierRuntime"]


class ClassifierRuntime(PoseRuntime):
    """An exported classifier with its preprocessing; arguments and errors as for PoseRuntime.

    Raises:
        DeployError: The network is no classifier, or as for PoseRuntime.
    """

    finds_people = False
    codec: ClassScores

    def __init__(self, path: Any, *args: Any, **kwargs: Any):
        super().__init__(path, *args, **kwargs)
        if not isinstance(self.codec, ClassScores):
            self.close()
            raise DeployError(f"{path} is no classifier: to find people with it, use ehrpose predict")

    def __enter__(self) -> ClassifierRuntime:
        return self

    @property
    def classes(self) -> Tuple[str, ...]:
        """Names of the classes; none where they are not known."""
        return self.codec.classes

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.path.stem

    def prepare(self, image: Image) -> Tuple[np.ndarray, np.ndarray]:
        """Return the middle of a photo as network input, without the batch axis, and the (2, 3) warp to it."""
        photo = check_image(image) if isinstance(image, np.ndarray) else read_image(image)
        warp = self.codec.warp(photo.shape[1::-1])
        pixels = warp_image(photo, warp, self.codec.size_wh)
        if self.sidecar.input["layout"] == "NCHW":
            pixels = pixels.transpose(2, 0, 1)
        return np.ascontiguousarray(pixels, self.sidecar.input["dtype"]), warp

    def probabilities(self, image: Image) -> np.ndarray:
        """Return the (C,) probabilities of a photo's classes.

        Args:
            image: File name, or (H, W, 3) uint8 BGR array.

        Raises:
            ImageReadError: The file is missing or not a photo.
        """
        pixels, _ = self.prepare(image)
        batch = np.repeat(pixels[None], self.sidecar.batch_size, axis=0)
        return self.codec.probabilities(self.run(batch).image(0))
