"""Draw heads (skull, hair, face) and locate eyes, ears and nose."""

from __future__ import annotations

import numpy as np

from ehrpose.datasets.synthetic.canvas import CIRCLE, Canvas, hull
from ehrpose.datasets.synthetic.outfit import Outfit

# Half axes of the skull (left, up, forward) and positions of nose, eyes and ears on it, in half head heights.
_SKULL = np.array([0.74, 0.95, 0.88])
_FACE = {
    "nose": np.array([0.0, -0.13, 1.04]),
    "left_eye": np.array([0.31, 0.13, 0.78]),
    "right_eye": np.array([-0.31, 0.13, 0.78]),
    "left_ear": np.array([0.74, 0.0, 0.02]),
    "right_ear": np.array([-0.74, 0.0, 0.02]),
}
FACE_NAMES = tuple(_FACE)


def _sphere() -> np.ndarray:
    polar = np.linspace(0.05, np.pi, 13)[:, None]
    turn = np.arange(16) * (2 * np.pi / 16)
    return np.stack(
        [np.sin(polar) * np.cos(turn), np.sin(polar) * np.sin(turn), np.cos(polar) + 0 * turn], axis=-1
    ).reshape(-1, 3)


_SPHERE = _sphere()


def face_keypoints(
    center: np.ndarray, axes: np.ndarray, radius: float
) -> dict[str, tuple[np.ndarray, float]]:
    """Return the (3,) position of each face keypoint and how much it faces the viewer, -1 to 1.

    Args:
        center: (3,) centre of the skull in camera axes, pixels.
        axes: (3, 3), the columns are the head's left, up and forward directions.
        radius: Half the height of the head, pixels.
    """
    found = {}
    for name, offset in _FACE.items():
        normal = axes @ (offset / np.linalg.norm(offset))
        found[name] = (center + axes @ offset * radius, float(normal[2]))
    return found


def ellipse(center: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Return the outline of a projected ellipsoid; ``spread`` is (2, n), its half axes in the image."""
    form = spread @ spread.T
    a = np.sqrt(max(form[0, 0], 1e-9))
    b = form[0, 1] / a
    c = np.sqrt(max(form[1, 1] - b * b, 1e-9))
    return center + CIRCLE @ np.array([[a, b], [0.0, c]])


def draw_head(
    canvas: Canvas, center: np.ndarray, axes: np.ndarray, radius: float, outfit: Outfit, label: int
) -> None:
    """Paint a head; arguments as in ``face_keypoints``; ``label`` marks its pixels."""
    flat = axes[:2]
    middle = center[:2]
    forward = axes[:, 2]
    top, bottom = middle + flat[:, 1] * radius, middle - flat[:, 1] * radius
    skull = ellipse(middle + flat @ (0, 0.08, -0.04) * radius, flat * _SKULL * radius)
    jaw = ellipse(middle + flat @ (0, -0.55, 0.28) * radius, flat * (0.48, 0.44, 0.52) * radius)
    canvas.paint([hull((skull, jaw))], outfit.skin, top, bottom, 0.85 * radius, 4 * radius, label)
    faces_viewer = forward[2] > -0.25
    if faces_viewer:
        _draw_face(canvas, center, axes, radius, outfit, label)
    if outfit.hair_style == "bald":
        _draw_ears(canvas, center, axes, radius, outfit, label)
        return
    cap = _hair_cap(axes, outfit)
    if len(cap) > 2:
        points = hull((middle + (axes @ (cap * _SKULL * 1.1).T)[:2].T * radius + flat[:, 1] * 0.06 * radius,))
        canvas.paint([points], outfit.hair, top, bottom, 0.95 * radius, 3 * radius, label)
    if outfit.hair_style == "bun":
        bun = ellipse(middle + flat @ (0, 0.75, -0.85) * radius, np.eye(2) * 0.38 * radius)
        if forward[2] < 0.6:
            canvas.paint([bun], outfit.hair, top, bottom, 0.4 * radius, 2 * radius, label)
    if outfit.hair_style == "cap":
        _draw_cap(canvas, middle, axes, radius, outfit, label)
    if outfit.hair_style != "long":
        _draw_ears(canvas, center, axes, radius, outfit, label)


def _hair_cap(axes: np.ndarray, outfit: Outfit) -> np.ndarray:
    """Return the (n, 3) unit directions, in head axes, that hair covers and the viewer sees."""
    lean = {"cap": (0.9, -0.3)}.get(outfit.hair_style, (0.62, -0.78))
    middle = np.array([0.0, *lean])
    near = _SPHERE @ (middle / np.linalg.norm(middle)) > np.cos(np.radians(outfit.hair_angle))
    return _SPHERE[near & (_SPHERE @ axes[2] > -0.12)]


def _draw_cap(
    canvas: Canvas, middle: np.ndarray, axes: np.ndarray, radius: float, outfit: Outfit, label: int
) -> None:
    flat = axes[:2]
    dome = _SPHERE[(_SPHERE[:, 1] > 0.22) & (_SPHERE @ axes[2] > -0.12)] * _SKULL * 1.15
    brim = CIRCLE[:, :1] * 0.6 * axes[:2, 0] + (0.75 + 0.75 * CIRCLE[:, 1:]) * axes[:2, 2]
    brim = middle + (brim + 0.3 * flat[:, 1]) * radius
    shapes = [hull((middle + (axes @ dome.T)[:2].T * radius,)), hull((brim,))]
    order = (0, 1) if axes[2, 2] > 0 else (1, 0)
    for i in order:
        start, end = middle + flat[:, 1] * radius, middle - flat[:, 1] * radius
        canvas.paint([shapes[i]], outfit.shoes, start, end, radius, 3 * radius, label, 1.0 if i == 0 else 0.8)


def _draw_ears(
    canvas: Canvas, center: np.ndarray, axes: np.ndarray, radius: float, outfit: Outfit, label: int
) -> None:
    for side in (1.0, -1.0):
        if side * axes[2, 0] > -0.35:
            middle = center[:2] + axes[:2] @ (side * 0.76, 0.0, -0.02) * radius
            outline = ellipse(middle, axes[:2] * (0.09, 0.24, 0.16) * radius)
            canvas.paint(
                [outline], outfit.skin, middle, middle + axes[:2, 1], 0.25 * radius, radius, label, 0.88
            )
            if side * axes[2, 0] > 0.3:
                inner = ellipse(middle, axes[:2] * (0.05, 0.12, 0.08) * radius)
                canvas.fill(inner, outfit.skin.color * 0.62)


def _draw_face(
    canvas: Canvas, center: np.ndarray, axes: np.ndarray, radius: float, outfit: Outfit, label: int
) -> None:
    """Paint eyes, brows, nose and mouth, each only where it faces the viewer."""
    middle, flat = center[:2], axes[:2]
    skin, dark = outfit.skin.color, outfit.hair.color * 0.6
    for side in (1.0, -1.0):
        normal = axes @ np.array([side * 0.36, 0.12, 0.92])
        if normal[2] < 0.12:
            continue
        eye = middle + flat @ (side * 0.31, 0.13, 0.78) * radius
        canvas.fill(ellipse(eye, flat * (0.15, 0.1, 0.03) * radius), (236, 240, 242))
        canvas.fill(ellipse(eye, flat * (0.08, 0.095, 0.03) * radius), (38, 32, 30))
        brow = [(side * 0.16, 0.33, 0.86), (side * 0.32, 0.38, 0.8), (side * 0.48, 0.31, 0.68)]
        canvas.line(middle + (flat @ np.array(brow).T).T * radius, dark, 0.09 * radius)
    if axes[2, 2] > -0.2:
        nose = np.array([(0, 0.12, 0.9), (0.12, -0.22, 0.9), (0, -0.16, 1.16), (-0.12, -0.22, 0.9)])
        outline = hull((middle + (flat @ nose.T).T * radius,))
        canvas.paint([outline], outfit.skin, middle, middle + flat[:, 1], radius, radius, label, 0.86)
    if axes[2, 2] > 0.05:
        mouth = np.array([(0.24, -0.5, 0.76), (0, -0.54, 0.86), (-0.24, -0.5, 0.76)])
        canvas.line(middle + (flat @ mouth.T).T * radius, skin * (0.55, 0.5, 0.78), 0.12 * radius)
