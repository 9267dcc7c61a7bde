"""From a photo to the input of an exported network."""

from __future__ import annotations

import os
from typing import Sequence, Tuple, Union

import numpy as np

from ehrpose.deploy.sidecar import Sidecar
from ehrpose.image_io import check_image, read_image
from ehrpose.image_warp import InputPlan, letterbox_warp, plan_inputs, warp_image

Image = Union[str, "os.PathLike[str]", np.ndarray]


def input_plan(photo_wh: Sequence[int], sidecar: Sidecar) -> InputPlan:
    """Return size and warp of the input of the network of ``sidecar`` for a photo of ``photo_wh`` px.

    Of several shapes the one in which the photo is largest, of equals the smallest.
    """
    sides = sidecar.sides
    if sides is not None:
        return plan_inputs(
            photo_wh,
            sides["short"],
            sides["divisor"],
            max_aspect=sides["max_aspect"],
            side=sides.get("side", "short"),
            offset=sides.get("offset", 0),
        )[0]
    plans = [InputPlan(size_wh, letterbox_warp(photo_wh, size_wh)) for size_wh in sidecar.shapes_wh]
    return max(plans, key=lambda plan: (plan.warp[0, 0], -plan.size_wh[0] * plan.size_wh[1]))


def prepare_image(image: Image, sidecar: Sidecar) -> Tuple[np.ndarray, np.ndarray]:
    """Return one photo as input of the network of ``sidecar``, without the batch axis, and the (2, 3) warp to it."""
    image = check_image(image) if isinstance(image, np.ndarray) else read_image(image)
    size_wh, warp = input_plan(image.shape[1::-1], sidecar)
    pixels = warp_image(image, warp, size_wh, sidecar.border)
    if sidecar.input["color"] == "RGB":
        pixels = pixels[:, :, ::-1]
    if sidecar.input["layout"] == "NCHW":
        pixels = pixels.transpose(2, 0, 1)
    return np.ascontiguousarray(pixels, sidecar.input["dtype"]), warp


def batch_wh(shape: Sequence[int], sidecar: Sidecar) -> Tuple[int, int]:
    """Return width and height, px, of a batch of ``shape``, which has the layout of ``sidecar``."""
    height, width = shape[-2:] if sidecar.input["layout"] == "NCHW" else shape[-3:-1]
    return int(width), int(height)
