"""Showing pictures in a window."""

from __future__ import annotations

import cv2
import numpy as np

NAME = "ehrpose"
_ESCAPE = 27


def show_picture(picture: np.ndarray, seconds: float | None) -> bool:
    """Show a picture; return whether to go on (Escape, q, or a closed window end it).

    Args:
        picture: (H, W, 3) uint8 BGR.
        seconds: How long to wait for a key; 0 does not wait, None waits for ever.

    Raises:
        ValueError: No window can be shown here.
    """
    try:
        cv2.imshow(NAME, picture)
        key = cv2.waitKey(0 if seconds is None else max(1, round(1000 * seconds))) & 0xFF
        visible = cv2.getWindowProperty(NAME, cv2.WND_PROP_VISIBLE) >= 1
    except cv2.error as error:
        raise ValueError(
            "no window can be shown here (no display, or an OpenCV without windows): leave out show"
        ) from error
    return visible and key not in (_ESCAPE, ord("q"))


def write_rate(picture: np.ndarray, fps: float) -> np.ndarray:
    """Write frames a second into the upper left corner of ``picture``, in place, and return it."""
    height = max(12, round(picture.shape[0] / 30))
    font, scale, text = cv2.FONT_HERSHEY_SIMPLEX, height / 22, f"{fps:.1f} fps"
    thickness = max(1, round(scale))
    width = cv2.getTextSize(text, font, scale, thickness)[0][0]
    cv2.rectangle(picture, (0, 0), (width + height, 2 * height), (0, 0, 0), -1)
    place = (height // 2, height + height // 2)
    cv2.putText(picture, text, place, font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return picture
