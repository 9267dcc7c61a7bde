"""Labels of people: text on a background, inside the picture, without overlap if there is room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ehrpose.visualization.strokes import Color

_FONT = cv2.FONT_HERSHEY_SIMPLEX
# Height of the font's capitals at scale 1, px.
_CAPITAL = 21
# Smallest readable capitals, px.
_LEAST = 8.0


class Label(NamedTuple):
    """A text that labels a box.

    Attributes:
        text: ASCII.
        box: (4,) x0, y0, x1, y1, px; the label goes above it, or elsewhere if that place is taken.
        bgr: Background colour.
        height: Height of the capitals, px.
    """

    text: str
    box: np.ndarray
    bgr: Color
    height: float


def label_height(shape: tuple[int, ...], extent: float) -> float:
    """Return the height of capitals, px, for a person of ``extent`` px on a picture of this shape."""
    side = max(shape[:2])
    return max(_LEAST, float(np.clip(extent / 12, 0.01 * side, 0.018 * side)))


def draw_labels(canvas: np.ndarray, labels: Sequence[Label]) -> None:
    """Draw labels in order; boxes outside the picture get none."""
    height, width = canvas.shape[:2]
    taken: list[tuple[int, int, int, int]] = []
    for label in labels:
        x0, y0, x1, y1 = label.box.tolist()
        if not (x0 < width and y0 < height and x1 >= 0 and y1 >= 0):
            continue
        scale, pen, size_wh, pad = _measure(label, width)
        place = _place(label.box, size_wh, (width, height), taken)
        taken.append(place)
        cv2.rectangle(canvas, place[:2], (place[2] - 1, place[3] - 1), label.bgr, -1)
        text_at = (place[0] + pad, place[3] - pad - pen // 2)
        cv2.putText(canvas, label.text, text_at, _FONT, scale, text_color(label.bgr), pen, cv2.LINE_AA)


def text_color(background: Color) -> Color:
    """Return black or white, whichever reads better on ``background`` (BGR)."""
    blue, green, red = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)


def _measure(label: Label, room: int) -> tuple[float, int, tuple[int, int], int]:
    """Return scale, line width, size of the whole label and its padding; no wider than ``room`` px."""
    scale = label.height / _CAPITAL
    (text_width, _), _ = cv2.getTextSize(label.text, _FONT, scale, 1)
    scale *= min(1.0, 0.85 * room / max(text_width, 1))
    pen = max(1, round(2.4 * scale))
    pad = max(2, round(_CAPITAL * scale / 3))
    (text_width, text_height), _ = cv2.getTextSize(label.text, _FONT, scale, pen)
    return scale, pen, (text_width + 2 * pad, text_height + 2 * pad), pad


def _place(
    box: np.ndarray,
    size_wh: tuple[int, int],
    room_wh: tuple[int, int],
    taken: Sequence[tuple[int, int, int, int]],
) -> tuple[int, int, int, int]:
    """Return x0, y0, x1, y1 of a label: the first free place, or the one that overlaps others least."""
    x0, y0, x1, y1 = box.tolist()
    w, h = size_wh
    middle = (x0 + x1 - w) / 2
    wishes = [(middle, y0 - h), (middle, y0 - 2 * h - 1), (x0, y0 - h), (x1 - w, y0 - h), (middle, y1),
              (x0 - w, y0), (x1, y0), (middle, (y0 + y1 - h) / 2)]  # fmt: skip
    best, least = (0, 0, w, h), np.inf
    for x, y in wishes:
        left = round(min(max(x, 0), max(room_wh[0] - w, 0)))
        top = round(min(max(y, 0), max(room_wh[1] - h, 0)))
        place = (left, top, left + w, top + h)
        covered = sum(_overlap(place, other) for other in taken)
        if covered < least:
            best, least = place, covered
        if covered == 0:
            break
    return best


def _overlap(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> int:
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
