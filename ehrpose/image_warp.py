"""Affine warps between a photo and the network's input, for training, test and device alike (no torch).

A warp is a (2, 3) float64 matrix from photo to input. Positions are pixel-index coordinates: the pixel in row y and
column x is centred at (x, y) and extends half a unit to each side. The same matrix transforms pixels and keypoints.
Photos are always aligned by their centres: ((w - 1) / 2, (h - 1) / 2) maps to the centre of the input. This equals the
half-pixel rule x' = (x + 0.5) * s - 0.5 + padding, and a mirrored photo yields the mirrored input.
"""

from __future__ import annotations

import math
from typing import List, NamedTuple, Sequence, Tuple, Union

import cv2
import numpy as np

from ehrpose.structures import invert_warp

# OpenCV 4 refuses to warp arrays with longer sides.
MAX_WARP_SIDE = 32000


class InputPlan(NamedTuple):
    """One network input: its size in px and the warp that fills it.

    Attributes:
        size_wh: Width and height, multiples of 32, or as ``plan_inputs`` was asked for.
        warp: (2, 3) float64, photo to input.
    """

    size_wh: Tuple[int, int]
    warp: np.ndarray


def centred_warp(
    photo_wh: Sequence[int],
    input_wh: Sequence[int],
    scale: float,
    degrees: float = 0.0,
    shift_xy: Sequence[float] = (0.0, 0.0),
) -> np.ndarray:
    """Return the warp that scales and rotates about the photo's centre and maps it to the input's centre.

    Args:
        photo_wh: Width and height of the photo, px.
        input_wh: Width and height of the input, px.
        scale: Input px per photo px.
        degrees: Rotation, clockwise in the image.
        shift_xy: Translation, input px.
    """
    angle = math.radians(degrees)
    linear = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    source = (np.asarray(photo_wh, np.float64) - 1) / 2
    target = (np.asarray(input_wh, np.float64) - 1) / 2 + np.asarray(shift_xy, np.float64)
    return np.hstack([linear, (target - linear @ source)[:, None]])


def letterbox_warp(photo_wh: Sequence[int], size_wh: Sequence[int]) -> np.ndarray:
    """Return the warp that fits a whole photo into a size, centred, with bars on two sides.

    Args:
        photo_wh: Width and height of the photo, px.
        size_wh: Width and height of the result, px.
    """
    return centred_warp(photo_wh, size_wh, min(size_wh[0] / photo_wh[0], size_wh[1] / photo_wh[1]))


def centre_crop_warp(photo_wh: Sequence[int], side: int, share: float) -> np.ndarray:
    """Return the warp of a classifier's input: a square from the photo's middle.

    Args:
        photo_wh: Width and height of the photo, px.
        side: Side of the input, px.
        share: Share of the photo's short side that it shows, above 0 to 1.
    """
    return centred_warp(photo_wh, (side, side), side / (share * min(photo_wh)))


def compose_warps(second: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return the warp that applies ``first``, then ``second``."""
    linear = second[:, :2] @ first[:, :2]
    return np.hstack([linear, (second[:, :2] @ first[:, 2] + second[:, 2])[:, None]])


def warp_points(points: np.ndarray, warp: np.ndarray) -> np.ndarray:
    """Return (..., 2) positions transformed by ``warp``, float32."""
    moved = np.asarray(points, np.float64) @ warp[:, :2].T + warp[:, 2]
    return moved.astype(np.float32)


def warp_image(
    image: np.ndarray,
    warp: np.ndarray,
    size_wh: Tuple[int, int],
    border: Union[int, Sequence[int]] = 0,
    interpolation: int = cv2.INTER_LINEAR,
) -> np.ndarray:
    """Return an image transformed by ``warp``.

    Shrinking to less than half averages blocks of pixels first, which keeps details that single samples would miss.

    Args:
        image: (H, W) or (H, W, C) array.
        warp: (2, 3), image to result.
        size_wh: Width and height of the result, px.
        border: Value around the image, one for all channels or one per channel.
        interpolation: ``cv2.INTER_LINEAR``, or ``cv2.INTER_NEAREST`` for masks (never averaged).
    """
    colour = tuple(border) if isinstance(border, Sequence) else (border,) * 4
    # Not np.linalg.det, whose last bit would make seven of eight: photos eight times as large would lose a block.
    (a, b), (c, d) = warp[:, :2].tolist()
    scale = math.sqrt(abs(a * d - b * c))
    if interpolation != cv2.INTER_NEAREST and scale < 0.5:
        image, warp = _shrink(image, warp, int(1 / scale))
    if max(image.shape[:2]) > MAX_WARP_SIDE:
        image, warp = _crop(image, warp, size_wh)
        if image.size == 0:
            fill = colour[:3] if image.ndim == 3 else colour[0]
            return np.full((size_wh[1], size_wh[0], *image.shape[2:]), fill, image.dtype)
    if image.shape[2:] == (3,) and image.dtype == np.uint8:
        # The same values in half the time: OpenCV's loops are faster with four bytes per pixel than with three.
        padded = cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)
        padded = cv2.warpAffine(padded, warp, size_wh, flags=interpolation, borderValue=(*colour[:3], 0))
        return cv2.cvtColor(padded, cv2.COLOR_BGRA2BGR)
    return cv2.warpAffine(image, warp, size_wh, flags=interpolation, borderValue=colour)


def _shrink(image: np.ndarray, warp: np.ndarray, factor: int) -> Tuple[np.ndarray, np.ndarray]:
    """Average blocks of about ``factor`` x ``factor`` px; the returned warp applies to the small image."""
    height, width = image.shape[:2]
    small_wh = max(1, round(width / factor)), max(1, round(height / factor))
    small = cv2.resize(image, small_wh, interpolation=cv2.INTER_AREA)
    sx, sy = width / small_wh[0], height / small_wh[1]
    return small, compose_warps(warp, np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5]]))


def _crop(image: np.ndarray, warp: np.ndarray, size_wh: Tuple[int, int]) -> Tuple[np.ndarray, np.ndarray]:
    """Crop to what the result shows, with a small margin; the returned warp applies to the crop."""
    width, height = size_wh
    corners = np.array([[-1, -1], [width, -1], [-1, height], [width, height]])
    seen = corners @ invert_warp(warp)[:, :2].T + invert_warp(warp)[:, 2]
    limit = np.array(image.shape[1::-1])
    x0, y0 = np.clip(np.floor(seen.min(axis=0)) - 1, 0, limit).astype(int)
    x1, y1 = np.clip(np.ceil(seen.max(axis=0)) + 2, 0, limit).astype(int)
    return image[y0:y1, x0:x1], compose_warps(warp, np.array([[1.0, 0, x0], [0, 1.0, y0]]))


def plan_inputs(
    photo_wh: Sequence[int],
    input_size: int,
    size_divisor: int = 64,
    scales: Sequence[float] = (1.0,),
    max_aspect: float = 8.0,
    align_corners: bool = False,
    side: str = "short",
    offset: int = 0,
) -> List[InputPlan]:
    """Lay out the test inputs of one photo.

    At the smallest scale the input's short side is ``input_size * scale``, rounded up to ``size_divisor``; the
    photo fills it and is centred along the long side, which is rounded up likewise. The inputs of the other
    scales show exactly the same content; their sides are the nearest multiples of 32 (of ``size_divisor`` if that is
    no multiple of 32), plus ``offset``.

    Args:
        photo_wh: Width and height of the photo, px.
        input_size: Short side at scale 1, px.
        size_divisor: Sides are multiples of this, plus ``offset``.
        scales: Test scales, including 1.0.
        max_aspect: The long side is at most this many input sizes; longer photos are scaled down.
        align_corners: Align the scales at the centres of their corner pixels (as unbiased codecs resize maps), not at
            the corners of the images.
        side: ``"short"``, or ``"height"``: the photo's height fills the input's, also of upright photos, and the input
            is at least as wide as it is high.
        offset: The codec's ``side_offset``, px: 1 for networks whose sides are multiples plus 1.

    Returns:
        One plan per scale, scale 1.0 first, then in the order given.

    Raises:
        ValueError: A scale is not positive or 1.0 is missing.
    """
    if not scales or min(scales) <= 0 or 1.0 not in scales:
        raise ValueError(f"scales must be positive and include 1.0, got {tuple(scales)}")
    # The side of the photo that fills the input, and the other one.
    width, height = photo_wh
    first, second = (height, width) if side == "height" or width > height else (width, height)
    smallest = min(scales)
    filled = _round_up(input_size * smallest, size_divisor, offset)
    scale = filled / first
    if scale * second > max_aspect * filled:
        scale = max_aspect * filled / second
        filled = _round_up(scale * first, size_divisor, offset)
    other = _round_up(scale * second, size_divisor, offset)
    if side == "height":
        least_wh = (max(other, filled), filled)
    else:
        least_wh = (filled, other) if width <= height else (other, filled)
    ordered = [1.0, *(s for s in scales if s != 1.0)]
    step = size_divisor if size_divisor % 32 else 32
    width, height = (side_px - offset for side_px in least_wh)
    sizes = [
        (_near(width * s / smallest, step) + offset, _near(height * s / smallest, step) + offset)
        for s in ordered
    ]
    base_wh = sizes[0]
    base = _between(least_wh, base_wh, False) if base_wh != least_wh else np.eye(2, 3)
    warp = compose_warps(base, centred_warp(photo_wh, least_wh, scale))
    return [InputPlan(wh, compose_warps(_between(base_wh, wh, align_corners), warp)) for wh in sizes]


def resize_warp(
    width: int, height: int, input_size: int, size_divisor: int = 64, offset: int = 0
) -> Tuple[np.ndarray, Tuple[int, int]]:
    """Return the warp and the (width, height) of a photo's single input; see ``plan_inputs``."""
    plan = plan_inputs((width, height), input_size, size_divisor, offset=offset)[0]
    return plan.warp, plan.size_wh


def _round_up(length: float, divisor: int, offset: int) -> int:
    # Rounded first: 64.0000001, which is 64 up to floating-point error, must not become 128.
    return max(1, math.ceil(round((length - offset) / divisor, 6))) * divisor + offset


def _near(length: float, step: int) -> int:
    return max(1, round(length / step)) * step


def _between(first_wh: Sequence[int], second_wh: Sequence[int], align_corners: bool) -> np.ndarray:
    """Return the warp from one input to another that shows the same content at another size."""
    if align_corners:
        sx, sy = ((b - 1) / (a - 1) for a, b in zip(first_wh, second_wh))
        return np.array([[sx, 0, 0.0], [0, sy, 0]])
    sx, sy = (b / a for a, b in zip(first_wh, second_wh))
    return np.array([[sx, 0, sx / 2 - 0.5], [0, sy, sy / 2 - 0.5]])
