"""Paint anti-aliased, textured shapes on an image and record whose pixels they are.

Positions are pixel-index coordinates (x, y), subpixel; (0, 0) is the centre of the first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ehrpose.datasets.synthetic.outfit import TILE, Material

_SHIFT = 4
_ANGLES = np.arange(14) * (2 * np.pi / 14)
CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)


def fixed(points: np.ndarray) -> np.ndarray:
    """Return (N, 2) points as OpenCV's fixed-point integers, for drawing with ``shift=4``."""
    return np.rint(points * (1 << _SHIFT)).astype(np.int32)


def hull(points: Sequence[np.ndarray]) -> np.ndarray:
    """Return the (N, 2) convex hull of several (n, 2) point sets."""
    return cv2.convexHull(np.concatenate(points).astype(np.float32))[:, 0]


def capsule(start: np.ndarray, end: np.ndarray, start_radius: float, end_radius: float) -> np.ndarray:
    """Return the outline of a tapered limb between two points; all in pixels."""
    return hull((start + start_radius * CIRCLE, end + end_radius * CIRCLE))


class Canvas:
    """An image being drawn, with a label per pixel.

    Attributes:
        img: (H, W, 3) uint8 BGR.
        labels: (H, W) uint16, 0 for the background, else the ``label`` passed to ``paint``.
        light: (2,) direction towards the light, in the image.
    """

    def __init__(self, img: np.ndarray, light: np.ndarray) -> None:
        self.img = img
        self.labels: np.ndarray = np.zeros(img.shape[:2], np.uint16)
        self.light = light

    def paint(
        self,
        outlines: Sequence[np.ndarray],
        material: Material,
        start: np.ndarray,
        end: np.ndarray,
        half_width: float,
        unit: float,
        label: int,
        shade: float = 1.0,
    ) -> None:
        """Fill convex outlines with a material wrapped around the axis from start to end.

        Args:
            outlines: Convex polygons (n, 2), painted as one shape.
            material: Its tile spans the shape once across the axis and repeats every ``unit`` pixels along it.
            start: (2,) one end of the axis.
            end: (2,) other end of the axis.
            half_width: Half the width of the shape across the axis, pixels.
            unit: Length of one tile along the axis, pixels.
            label: Written to ``labels`` where the shape covers more than half a pixel.
            shade: Brightness factor.
        """
        shapes = [fixed(outline) for outline in outlines]
        boxes = [cv2.boundingRect(shape) for shape in shapes]
        height, width = self.labels.shape
        x0 = max(0, (min(box[0] for box in boxes) >> _SHIFT) - 1)
        y0 = max(0, (min(box[1] for box in boxes) >> _SHIFT) - 1)
        x1 = min(width, (max(box[0] + box[2] for box in boxes) >> _SHIFT) + 3)
        y1 = min(height, (max(box[1] + box[3] for box in boxes) >> _SHIFT) + 3)
        if x0 >= x1 or y0 >= y1:
            return
        cover = np.zeros((y1 - y0, x1 - x0), np.uint8)
        corner = np.array([x0, y0], np.int32)
        for shape in shapes:
            cv2.fillConvexPoly(cover, shape - (corner << _SHIFT), 255, cv2.LINE_AA, _SHIFT)
        warp, is_right = self._tile_warp(start - corner, end - corner, half_width, unit)
        color = cv2.warpAffine(
            material.tiles[is_right],
            warp,
            cover.shape[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        )
        if abs(shade - 1) > 0.02:
            color = cv2.convertScaleAbs(color, alpha=shade)
        roi = self.img[y0:y1, x0:x1]
        blend(roi, color, cover)
        np.copyto(self.labels[y0:y1, x0:x1], np.uint16(label), where=cover > 127)

    def _tile_warp(
        self, start: np.ndarray, end: np.ndarray, half_width: float, unit: float
    ) -> tuple[np.ndarray, int]:
        """Return the (2, 3) map from pixels to tile pixels, and whether the light is on the tile's right."""
        dx, dy = float(end[0] - start[0]), float(end[1] - start[1])
        length = (dx * dx + dy * dy) ** 0.5
        dx, dy = (dx / length, dy / length) if length > 1e-3 else (0.0, 1.0)
        x, y = float(start[0]), float(start[1])
        across, along = TILE / (2.1 * max(half_width, 0.3)), TILE / max(unit, 1.0)
        warp = np.array(
            [
                [-dy * across, dx * across, TILE / 2 - 0.5 - across * (dx * y - dy * x)],
                [dx * along, dy * along, -along * (dx * x + dy * y)],
            ]
        )
        return warp, int(dx * self.light[1] - dy * self.light[0] > 0)

    def fill(self, outline: np.ndarray, color: Sequence[float] | np.ndarray) -> None:
        """Fill a convex (n, 2) polygon with one BGR colour; labels are unchanged."""
        cv2.fillConvexPoly(self.img, fixed(outline), tuple(float(c) for c in color), cv2.LINE_AA, _SHIFT)

    def line(self, points: np.ndarray, color: Sequence[float] | np.ndarray, thickness: float) -> None:
        """Draw a thin open (n, 2) polyline, nothing below 0.35 px of thickness; labels are unchanged."""
        if thickness < 0.35:
            return
        color = tuple(float(c) for c in color)
        width = max(1, round(thickness))
        cv2.polylines(self.img, [fixed(points)], False, color, width, cv2.LINE_AA, _SHIFT)


def blend(roi: np.ndarray, color: np.ndarray, cover: np.ndarray) -> None:
    """Blend ``color`` over ``roi`` in place; ``cover`` is (h, w) uint8, 255 is opaque."""
    weight = (cover + (cover >> 7).astype(np.uint16))[..., None]
    roi[:] = (roi * (256 - weight) + color * weight) >> 8
