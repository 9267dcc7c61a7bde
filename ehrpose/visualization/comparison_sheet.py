"""A sheet of pictures in rows and columns of one cell size, each with a caption (like Figure 3 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from ehrpose.image_warp import letterbox_warp, warp_image, warp_points
from ehrpose.keypoint_meta import KeypointMeta
from ehrpose.visualization.drawing import draw_people

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_INK, _PAPER, _BARS = (30, 30, 30), (255, 255, 255), (232, 232, 232)
_GAP = 6


class SheetCell(NamedTuple):
    """A picture (H, W, 3) uint8 BGR of the cell's size, and its caption; non-ASCII characters become ``?``."""

    picture: np.ndarray
    caption: str


def draw_cell(
    photo: np.ndarray,
    keypoints: np.ndarray,
    keypoint_scores: np.ndarray,
    meta: KeypointMeta,
    cell_wh: tuple[int, int],
    **options: Any,
) -> np.ndarray:
    """Return a photo with people, whole and centred in a cell with grey bars: (height, width, 3) uint8 BGR.

    People are drawn after the photo is resized, so that line widths suit the cell.

    Args:
        photo: (H, W, 3) uint8 BGR.
        keypoints: (N, K, 2) px of the photo.
        keypoint_scores: (N, K), 0 to 1.
        meta: Limbs and colours.
        cell_wh: Width and height of the cell, px.
        options: Further arguments of ``draw_people``.
    """
    warp = letterbox_warp(photo.shape[1::-1], cell_wh)
    picture = warp_image(photo, warp, cell_wh, _BARS)
    points = np.asarray(keypoints, np.float64)
    return draw_people(picture, warp_points(points, warp), keypoint_scores, meta, **options)


def compose_sheet(rows: Sequence[Sequence[SheetCell]]) -> np.ndarray:
    """Return the sheet (H, W, 3) uint8 BGR; short rows are padded with white.

    Args:
        rows: At least one row of cells from left to right; all pictures of the same shape.

    Raises:
        ValueError: There are no cells, or pictures differ in shape.
    """
    cells = [cell for row in rows for cell in row]
    shapes = {cell.picture.shape for cell in cells}
    if len(shapes) != 1:
        raise ValueError(f"expected at least one picture, all of the same shape, got {sorted(shapes)}")
    height, width = cells[0].picture.shape[:2]
    text_height = caption_height(width)
    step_x, step_y = width + _GAP, height + text_height + _GAP
    columns = max(len(row) for row in rows)
    sheet = np.full((len(rows) * step_y + _GAP, columns * step_x + _GAP, 3), _PAPER, np.uint8)
    for number, row in enumerate(rows):
        for column, cell in enumerate(row):
            x, y = _GAP + column * step_x, _GAP + number * step_y
            sheet[y : y + height, x : x + width] = cell.picture
            _write(sheet[y + height : y + height + text_height, x : x + width], cell.caption)
    return sheet


def caption_height(cell_width: int) -> int:
    """Return the height of a caption, px, below a cell of this width."""
    return max(18, round(cell_width / 16))


def _write(strip: np.ndarray, text: str) -> None:
    """Write centred text on a strip; text that is too long shrinks, then ends in dots."""
    text = text.encode("ascii", "replace").decode()
    height, width = strip.shape[:2]
    scale = 0.5 * height / 21  # capitals of this font are 21 px high
    pen = max(1, round(2 * scale))
    room = width - 4

    def width_of(candidate: str, factor: float) -> int:
        return int(cv2.getTextSize(candidate, _FONT, factor, pen)[0][0])

    scale *= max(0.6, min(1.0, room / max(width_of(text, scale), 1)))
    shown = text
    while len(shown) > 4 and width_of(shown, scale) > room:
        text = text[:-1]
        shown = text + "..."
    x = max((width - width_of(shown, scale)) // 2, 0)
    cv2.putText(strip, shown, (x, round(0.5 * height + 10.5 * scale)), _FONT, scale, _INK, pen, cv2.LINE_AA)
