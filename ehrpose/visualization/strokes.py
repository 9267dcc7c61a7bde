"""Strokes on a picture: lines, ellipses, discs and boxes with sub-pixel positions, solid or translucent.

Only the part of the picture that a translucent stroke covers is blended. Points are x, y in px, colours BGR.
"""

from __future__ import annotations

import math
from typing import Sequence, Tuple

import cv2
import numpy as np

Color = Tuple[int, int, int]
Point = Sequence[float]

# cv2 takes fixed-point coordinates, here multiples of 1 / 2**4 px.
_SHIFT = 4
_LIMIT = 2.0**28
_WHITE = (255, 255, 255)
_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def to_bgr(color: np.ndarray) -> Color:
    """Return an RGB triple as BGR."""
    red, green, blue = color.tolist()
    return blue, green, red


def draw_line(
    canvas: np.ndarray, start: Point, end: Point, bgr: Color, width: float, opacity: float = 1.0
) -> None:
    """Draw a line of ``width`` px, at least one."""
    whole = max(1, round(width))
    layer, corner = _layer(canvas, (start, end), whole, opacity)
    if layer.size == 0:
        return
    cv2.line(layer, _fixed(start, corner), _fixed(end, corner), bgr, whole, cv2.LINE_AA, _SHIFT)
    _lay(canvas, layer, corner, opacity)


def draw_ellipse(
    canvas: np.ndarray, start: Point, end: Point, bgr: Color, width: float, opacity: float = 1.0
) -> None:
    """Draw a filled ellipse from ``start`` to ``end``, ``width`` px wide in the middle, at least one."""
    along = np.array([end[0] - start[0], end[1] - start[1]]) / 2
    length = math.hypot(*along.tolist())
    if length == 0:
        return
    across = np.array([-along[1], along[0]]) * (max(width, 1.0) / 2 / length)
    outline = np.array(start) + along + _CIRCLE @ np.stack([along, across])
    layer, corner = _layer(canvas, (outline.min(axis=0).tolist(), outline.max(axis=0).tolist()), 1, opacity)
    if layer.size == 0:
        return
    fixed = np.clip((outline - corner) * 2**_SHIFT, -_LIMIT, _LIMIT).round().astype(np.int32)
    cv2.fillConvexPoly(layer, fixed, bgr, cv2.LINE_AA, _SHIFT)
    _lay(canvas, layer, corner, opacity)


def draw_disc(
    canvas: np.ndarray, center: Point, radius: float, bgr: Color, opacity: float = 1.0, rim: bool = True
) -> None:
    """Draw a disc of ``radius`` px, with a white rim of half a pixel around it if ``rim``."""
    size = max(1, round(radius * 2**_SHIFT))
    layer, corner = _layer(canvas, (center,), radius + 2, opacity)
    if layer.size == 0:
        return
    place = _fixed(center, corner)
    if rim:
        cv2.circle(layer, place, size + 2**_SHIFT // 2, _WHITE, -1, cv2.LINE_AA, _SHIFT)
    cv2.circle(layer, place, size, bgr, -1, cv2.LINE_AA, _SHIFT)
    _lay(canvas, layer, corner, opacity)


def draw_box(canvas: np.ndarray, box: np.ndarray, width: float, bgr: Color) -> None:
    """Draw the outline of an x0, y0, x1, y1 box."""
    x0, y0, x1, y1 = np.asarray(box, np.float64).tolist()
    whole = max(1, round(width))
    cv2.rectangle(canvas, _fixed((x0, y0)), _fixed((x1, y1)), bgr, whole, cv2.LINE_AA, _SHIFT)


def _fixed(point: Point, corner: tuple[int, int] = (0, 0)) -> tuple[int, int]:
    x, y = (point[0] - corner[0]) * 2**_SHIFT, (point[1] - corner[1]) * 2**_SHIFT
    return round(min(max(x, -_LIMIT), _LIMIT)), round(min(max(y, -_LIMIT), _LIMIT))


def _layer(
    canvas: np.ndarray, points: Sequence[Point], margin: float, opacity: float
) -> tuple[np.ndarray, tuple[int, int]]:
    """Return a copy of the canvas around ``points``, possibly empty, and its corner; the canvas itself if solid."""
    if opacity >= 1:
        return canvas, (0, 0)
    height, width = canvas.shape[:2]
    xs, ys = [point[0] for point in points], [point[1] for point in points]
    left, right = (
        min(max(x, 0), width) for x in (math.floor(min(xs) - margin), math.ceil(max(xs) + margin) + 1)
    )
    top, bottom = (
        min(max(y, 0), height) for y in (math.floor(min(ys) - margin), math.ceil(max(ys) + margin) + 1)
    )
    return canvas[top:bottom, left:right].copy(), (left, top)


def _lay(canvas: np.ndarray, layer: np.ndarray, corner: tuple[int, int], opacity: float) -> None:
    """Blend a layer from ``_layer`` into the canvas."""
    if opacity >= 1:
        return
    left, top = corner
    part = canvas[top : top + layer.shape[0], left : left + layer.shape[1]]
    part[:] = cv2.addWeighted(layer, opacity, part, 1 - opacity, 0)
