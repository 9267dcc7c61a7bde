"""A data set that needs no file: shapes with textures, drawn on access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ehrpose.datasets.classification.label_dataset import LabelDataset
from ehrpose.datasets.synthetic.background import finish, sample_background
from ehrpose.registry import DATASETS

SHAPES = ("disc", "square", "triangle", "star", "cross")
TEXTURES = ("plain", "striped", "checked", "dotted")
CLASSES = tuple(f"{texture} {shape}" for shape in SHAPES for texture in TEXTURES)
# Fractional bits of the coordinates passed to OpenCV.
_SHIFT = 4


@DATASETS.register_module()
class DrawnShapes(LabelDataset):
    """One shape with a texture on each image, of any size, place, angle and colours: 5 x 4 = 20 classes.

    Image ``i`` depends only on the arguments and on (seed, i), and is of class ``i % 20``. Data sets with different
    seeds share no image.

    Args:
        length: Number of images.
        seed: Seed of the whole data set, 0 or greater.
        image_size: Side of the images, px, at least 24.
        size: Smallest and largest diameter of the shape, as a share of the side.
        clutter: 0 (plain background) to 1 (busy).
        kwargs: Arguments of LabelDataset.

    Raises:
        ValueError: A number is out of range.
    """

    dataset_name = "drawn_shapes"
    classes = CLASSES

    def __init__(
        self,
        length: int = 2000,
        seed: int = 0,
        image_size: int = 64,
        size: Sequence[float] = (0.55, 0.95),
        clutter: float = 0.5,
        **kwargs: Any,
    ):
        if length < 1 or seed < 0 or image_size < 24:
            raise ValueError(
                f"expected length from 1, seed from 0 and image_size from 24, got {length}, {seed}, {image_size}"
            )
        if len(size) != 2 or not 0.2 <= size[0] <= size[1] <= 1 or not 0 <= clutter <= 1:
            raise ValueError(
                f"expected 0.2 <= size[0] <= size[1] <= 1 and clutter from 0 to 1, got {size}, {clutter}"
            )
        self.length, self.seed, self.image_size = length, seed, image_size
        self.size, self.clutter = tuple(size), clutter
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Return one small dict per image."""
        return [{"img_id": index + 1, "gt_label": index % len(CLASSES)} for index in range(self.length)]

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Draw an image and return its item, as it enters the pipeline."""
        info = super().get_data_info(idx)
        rng = np.random.default_rng([self.seed, info["img_id"] - 1])
        info["img"] = draw_shape(rng, info["gt_label"], self.image_size, self.size, self.clutter)
        return info


def draw_shape(
    rng: np.random.Generator, label: int, side: int, size: Sequence[float], clutter: float
) -> np.ndarray:
    """Draw one image of a class.

    Args:
        rng: Source of randomness.
        label: Index into CLASSES.
        side: Side of the image, px.
        size: Smallest and largest diameter of the shape, as a share of the side.
        clutter: 0 to 1, see ``sample_background``.

    Returns:
        (side, side, 3) uint8 BGR.
    """
    shape, texture = divmod(label, len(TEXTURES))
    diameter = side * rng.uniform(size[0], size[1])
    free = max(side - diameter, 0) / 2
    center = side / 2 + rng.uniform(-free, free, 2)
    image = sample_background(rng, (side, side), clutter)
    first, second = _colors(rng, image)
    inside = _outline(SHAPES[shape], center, diameter / 2, rng.uniform(0, 2 * np.pi), side)
    marked = _texture(TEXTURES[texture], rng, side, center, diameter)
    image[inside] = first
    image[inside & marked] = second
    return finish(rng, image)


def _colors(rng: np.random.Generator, background: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two colours that stand out against each other, the first also against the background."""
    mean = float(background.mean())
    first = rng.uniform(10, 90, 3) if mean > 128 else rng.uniform(165, 245, 3)
    second = np.clip(255 - first + rng.uniform(-40, 40, 3), 0, 255)
    return first.astype(np.uint8), second.astype(np.uint8)


def _outline(kind: str, center: np.ndarray, radius: float, angle: float, side: int) -> np.ndarray:
    """Return the pixels of a shape, (side, side) bool."""
    turns, radii = {
        "disc": (np.arange(48) / 48, np.ones(48)),
        "square": (np.arange(4) / 4, np.ones(4)),
        "triangle": (np.arange(3) / 3, np.ones(3)),
        "star": (np.arange(10) / 10, np.tile([1.0, 0.42], 5)),
        "cross": (_CROSS_TURNS, _CROSS_RADII),
    }[kind]
    around = 2 * np.pi * turns + angle
    corners = center + radius * radii[:, None] * np.stack([np.cos(around), np.sin(around)], axis=1)
    mask = np.zeros((side, side), np.uint8)
    cv2.fillPoly(mask, [np.round(corners * (1 << _SHIFT)).astype(np.int32)], 1, shift=_SHIFT)
    return mask.astype(bool)


def _texture(
    kind: str, rng: np.random.Generator, side: int, center: np.ndarray, diameter: float
) -> np.ndarray:
    """Return the pixels of the second colour, (side, side) bool, turned at random."""
    angle, period = rng.uniform(0, 2 * np.pi), max(diameter / rng.uniform(3.5, 5.5), 5.0)
    y, x = np.mgrid[:side, :side]
    dx, dy = x - center[0], y - center[1]
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / period + rng.uniform()
    v = (np.cos(angle) * dy - np.sin(angle) * dx) / period + rng.uniform()
    if kind == "striped":
        return (u * 1.5) % 1 < 0.5
    if kind == "checked":
        return (u % 1 < 0.5) ^ (v % 1 < 0.5)
    if kind == "dotted":
        return (u % 1 - 0.5) ** 2 + (v % 1 - 0.5) ** 2 < 0.3**2
    return np.zeros((side, side), bool)


# Corners of a cross with arms of 0.36 of its size, as turns and as shares of its radius.
_ARMS = np.array([(1, 0.36), (0.36, 0.36), (0.36, 1)])
_CROSS = np.concatenate([_ARMS @ np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))])
_CROSS_TURNS = np.arctan2(_CROSS[:, 1], _CROSS[:, 0]) / (2 * np.pi)
_CROSS_RADII = np.hypot(_CROSS[:, 0], _CROSS[:, 1]) / np.hypot(1, 0.36)
