"""Backgrounds, occluders, and the camera's blur and noise (NumPy and OpenCV)."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ehrpose.datasets.synthetic.canvas import CIRCLE, Canvas, capsule, hull
from ehrpose.datasets.synthetic.outfit import Material, make_material, sample_color, sample_pattern

_SKIN_LIKE = np.array([120.0, 150.0, 205.0])


@lru_cache(maxsize=4)
def _noise_bank(height: int, width: int) -> np.ndarray:
    """Return fixed (height, width, 3) uint8 noise, mean 128, standard deviation 32; scenes crop windows of it."""
    rng = np.random.default_rng(0)
    return np.clip(np.round(rng.normal(128, 32, (height, width, 3))), 0, 255).astype(np.uint8)


def sample_background(rng: np.random.Generator, size_wh: tuple[int, int], clutter: float) -> np.ndarray:
    """Draw a background: walls, floor, sky or just colours, with textures at several frequencies.

    Args:
        rng: Source of randomness.
        size_wh: Width and height, pixels.
        clutter: 0 is nearly plain, 1 is busy.

    Returns:
        (H, W, 3) uint8 BGR.
    """
    width, height = size_wh
    corners = _muted(rng, np.stack([sample_color(rng, 0.5) for _ in range(4)])).reshape(2, 2, 3)
    corners = corners.mean((0, 1)) + (corners - corners.mean((0, 1))) * rng.uniform(0.1, 0.7)
    img = cv2.resize(np.clip(corners, 0, 255).astype(np.uint8), size_wh, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.7:
        horizon = int(height * rng.uniform(0.35, 0.85))
        floor = _muted(rng, np.stack([sample_color(rng, 0.6)] * 2)) * rng.uniform(0.6, 1.2, (2, 1))
        ends = np.clip(floor, 0, 255).astype(np.uint8).reshape(2, 1, 3)
        img[horizon:] = cv2.resize(ends, (width, height - horizon), interpolation=cv2.INTER_LINEAR)
    for cells in (4, 12, 40):
        amount = clutter * rng.uniform(0, 0.45) * (1.0 if rng.random() < 0.7 else 0.0)
        if amount > 0.03:
            channels = 3 if rng.random() < 0.4 else 1
            coarse = rng.integers(0, 256, (cells, cells, channels), dtype=np.uint8)
            fine = cv2.resize(
                coarse, size_wh, interpolation=cv2.INTER_CUBIC if cells < 40 else cv2.INTER_LINEAR
            )
            if channels == 1:
                fine = cv2.cvtColor(fine, cv2.COLOR_GRAY2BGR)
            img = cv2.addWeighted(img, 1.0, fine, amount, -128 * amount)
    return img


def add_clutter(canvas: Canvas, rng: np.random.Generator, clutter: float) -> None:
    """Paint objects behind the people: furniture, poles, lines, blobs and limb-like shapes."""
    count = rng.poisson(20 * clutter)
    kinds = rng.choice(5, size=count, p=[0.3, 0.15, 0.15, 0.15, 0.25])
    for kind in kinds:
        _THINGS[kind](canvas, rng)


def add_occluder(canvas: Canvas, rng: np.random.Generator, person_height: float) -> None:
    """Paint one object in front of the people; its pixels get label 0."""
    height, width = canvas.labels.shape
    kind = rng.random()
    if kind < 0.4:
        _pole(canvas, rng)
    elif kind < 0.75:
        low = height * rng.uniform(0.55, 0.95)
        size = person_height * rng.uniform(0.2, 0.5, 2)
        center = np.array([rng.uniform(0, width), low])
        _paint(canvas, _box(center, size, rng.normal(0, 0.08)), center, size[0], _material(rng))
    else:
        for _ in range(rng.integers(4, 10)):
            start = np.array([rng.uniform(0, width), height * rng.uniform(0.8, 1.05)])
            end = start + person_height * np.array([rng.normal(0, 0.12), -rng.uniform(0.15, 0.4)])
            leaf = capsule(start, end, 0.02 * person_height, 0.008 * person_height)
            green = np.array([50.0, rng.uniform(90, 170), rng.uniform(40, 110)])
            _paint(canvas, leaf, start, 0.02 * person_height, make_material(green))


def add_seat(
    canvas: Canvas, rng: np.random.Generator, top: np.ndarray, height: float, half_width: float
) -> None:
    """Paint a stool; ``top`` is the (2,) middle of its upper edge, all in pixels. Its pixels get label 0."""
    half = half_width * rng.uniform(0.8, 1.5)
    middle = top + np.array([0, 0.5 * height])
    _paint(canvas, _box(middle, np.array([half, 0.5 * height]), 0.0), middle, half, _material(rng))


def finish(
    rng: np.random.Generator, img: np.ndarray, noise_rng: np.random.Generator | None = None
) -> np.ndarray:
    """Apply a camera's exposure, slight blur and sensor noise.

    Args:
        rng: Source of randomness for the camera settings.
        img: (H, W, 3) uint8.
        noise_rng: Source of randomness for the noise, if frames share a camera; None uses ``rng``.
    """
    gain, offset = rng.uniform(0.78, 1.15), rng.uniform(-12, 16)
    img = cv2.convertScaleAbs(img, alpha=gain, beta=max(offset, 0.0))
    sigma = rng.uniform(0, 0.9)
    if sigma > 0.35:
        img = cv2.GaussianBlur(img, (5, 5), sigma)
    amount = rng.uniform(0.05, 0.3)
    height, width = img.shape[:2]
    y, x = (noise_rng or rng).integers(64, size=2)
    noise = _noise_bank(height + 64, width + 64)[y : y + height, x : x + width]
    return cv2.addWeighted(img, 1.0, noise, amount, -128 * amount)


def _muted(rng: np.random.Generator, colors: np.ndarray) -> np.ndarray:
    """Move (N, 3) colours towards grey and a common brightness, typical of large surfaces."""
    colors = colors * (rng.uniform(60, 215) / max(float(colors.mean()), 1.0))
    grey = colors.mean(1, keepdims=True)
    return grey + (colors - grey) * rng.uniform(0.15, 0.9)


def _material(rng: np.random.Generator) -> Material:
    color = _muted(rng, sample_color(rng, 0.45)[None])[0]
    return make_material(color, sample_pattern(rng, color))


def _paint(canvas: Canvas, outline: np.ndarray, start: np.ndarray, half: float, material: Material) -> None:
    end = start + np.array([0.3, 8.0])
    canvas.paint([outline], material, start, end, max(half, 1.0), max(2.0 * half, 6.0), 0)


def _box(center: np.ndarray, half_wh: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * half_wh
    return center + corners @ np.array([[c, s], [-s, c]])


def _spot(canvas: Canvas, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Return a random position and the short side of the image."""
    height, width = canvas.labels.shape
    return rng.uniform(0, 1, 2) * (width, height), float(min(height, width))


def _add_box(canvas: Canvas, rng: np.random.Generator) -> None:
    center, side = _spot(canvas, rng)
    half = side * rng.uniform(0.03, 0.2, 2)
    angle = rng.normal(0, 0.05) if rng.random() < 0.7 else rng.uniform(-0.8, 0.8)
    _paint(canvas, _box(center, half, angle), center, half[0], _material(rng))


def _add_polygon(canvas: Canvas, rng: np.random.Generator) -> None:
    center, side = _spot(canvas, rng)
    points = center + rng.normal(0, 0.09 * side, (rng.integers(3, 8), 2))
    canvas.fill(hull((points,)), sample_color(rng, 0.4))


def _add_lines(canvas: Canvas, rng: np.random.Generator) -> None:
    center, side = _spot(canvas, rng)
    step = rng.normal(0, 0.05 * side, 2)
    reach = rng.normal(0, 0.35 * side, 2)
    color = sample_color(rng, 0.5)
    for i in range(rng.integers(1, 7)):
        start = center + i * step
        canvas.line(np.stack([start, start + reach]), color, rng.uniform(0.6, 2.5))


def _add_blob(canvas: Canvas, rng: np.random.Generator) -> None:
    center, side = _spot(canvas, rng)
    half = side * rng.uniform(0.015, 0.11, 2)
    _paint(canvas, center + CIRCLE * half, center, half[0], _material(rng))


def _pole(canvas: Canvas, rng: np.random.Generator) -> None:
    center, side = _spot(canvas, rng)
    half = side * rng.uniform(0.006, 0.03)
    top = center[1] * rng.uniform(0, 0.6)
    bottom = top + side * rng.uniform(0.4, 1.3)
    middle = np.array([center[0], (top + bottom) / 2])
    outline = _box(middle, np.array([half, (bottom - top) / 2]), rng.normal(0, 0.02))
    _paint(canvas, outline, middle, half, _material(rng))


def _add_limb(canvas: Canvas, rng: np.random.Generator) -> None:
    """Paint a chain of one or two limb-like shapes, some in skin colours, or a pole."""
    if rng.random() < 0.3:
        _pole(canvas, rng)
        return
    start, side = _spot(canvas, rng)
    is_skin = rng.random() < 0.4
    material = make_material(_SKIN_LIKE * rng.uniform(0.4, 1.15)) if is_skin else _material(rng)
    radius, angle = side * rng.uniform(0.008, 0.035), rng.uniform(0, 2 * np.pi)
    for _ in range(rng.integers(1, 3)):
        end = start + side * rng.uniform(0.06, 0.2) * np.array([np.cos(angle), np.sin(angle)])
        outline = capsule(start, end, radius, radius * 0.75)
        canvas.paint([outline], material, start, end, radius, 4 * radius, 0)
        start, radius, angle = end, radius * 0.75, angle + rng.normal(0, 0.8)


_THINGS = (_add_box, _add_polygon, _add_lines, _add_blob, _add_limb)
