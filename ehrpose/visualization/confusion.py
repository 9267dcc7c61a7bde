"""The picture of a confusion matrix."""

from __future__ import annotations

from typing import Sequence

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX
# With more classes than this there is no room for names and numbers.
_MOST_NAMED = 40
# Sides of a cell and of the whole matrix, px.
_CELL, _SIDE = 28, 1000


def draw_confusion(matrix: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """Draw a confusion matrix: rows are the classes, columns the answers, dark is often.

    Args:
        matrix: (C, C) counts.
        names: C names, shown for up to 40 classes.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ValueError: The shapes do not fit.
    """
    number = len(names)
    if matrix.shape != (number, number):
        raise ValueError(f"expected a matrix of {number} x {number}, got {matrix.shape}")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    is_named = number <= _MOST_NAMED
    side = number * _CELL if is_named else max(_SIDE // number, 1) * number
    # Roots, so that rare mistakes are seen.
    grey = np.round(255 * (1 - np.sqrt(shares))).astype(np.uint8)
    cells = cv2.resize(grey, (side, side), interpolation=cv2.INTER_NEAREST)
    picture = cv2.cvtColor(cells, cv2.COLOR_GRAY2BGR)
    picture[..., 2] = np.maximum(picture[..., 2], cells)
    return _with_names(picture, matrix, shares, names) if is_named else picture


def _with_names(
    picture: np.ndarray, matrix: np.ndarray, shares: np.ndarray, names: Sequence[str]
) -> np.ndarray:
    longest = max(cv2.getTextSize(_ascii(name), _FONT, 0.4, 1)[0][0] for name in names)
    margin, side = longest + 12, len(picture)
    sheet = np.full((side + margin, side + margin, 3), 255, np.uint8)
    sheet[margin:, margin:] = picture
    header = np.full((side, margin, 3), 255, np.uint8)
    for row, name in enumerate(names):
        bottom = row * _CELL + _CELL // 2 + 4
        cv2.putText(header, _ascii(name), (4, bottom), _FONT, 0.4, (0, 0, 0), 1, cv2.LINE_AA)
        for column in np.flatnonzero(matrix[row]):
            color = (255, 255, 255) if shares[row, column] > 0.25 else (0, 0, 0)
            at = (margin + column * _CELL + 3, margin + bottom)
            cv2.putText(sheet, str(matrix[row, column]), at, _FONT, 0.33, color, 1, cv2.LINE_AA)
    sheet[margin:, :margin] = header
    sheet[:margin, margin:] = cv2.rotate(header, cv2.ROTATE_90_COUNTERCLOCKWISE)
    return sheet


def _ascii(name: str) -> str:
    return name.encode("ascii", "replace").decode()[:24]
