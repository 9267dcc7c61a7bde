"""From a photo to the input of an exported network."""

from __future__ import annotations

import os
from typing import Tuple, Union

import numpy as np

from ehrpose.deploy.sidecar import Sidecar
from ehrpose.image_io import check_image, read_image
from ehrpose.image_warp import letterbox_warp, warp_image

Image = Union[str, "os.PathLike[str]", np.ndarray]


def prepare_image(image: Image, sidecar: Sidecar) -> Tuple[np.ndarray, np.ndarray]:
    """Return one photo as input of the network of ``sidecar``, without the batch axis, and the (2, 3) warp to it."""
    image = check_image(image) if isinstance(image, np.ndarray) else read_image(image)
    size_wh = sidecar.size_wh
    warp = letterbox_warp(image.shape[1::-1], size_wh)
    pixels = warp_image(image, warp, size_wh, (0, 0, 0))
    if sidecar.input["color"] == "RGB":
        pixels = pixels[:, :, ::-1]
    if sidecar.input["layout"] == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels, sidecar.input["dtype"]), warp
