"""Show pictures in a window."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from typing import Optional

import cv2
import numpy as np

from ehrpose.media.stopping import StopRequest

NAME = "ehrpose"
_ESCAPE, _NO_KEY = 27, 0xFF
_TURN = 0.05  # seconds
_REASON = "cannot open a window (no display, or OpenCV without GUI support): run without one"


@functools.lru_cache(maxsize=None)
def check_window() -> None:
    """Raise ValueError if no window can be opened.

    OpenCV's Qt ends the whole process if the display cannot be reached, with no error to catch, so a separate process
    tries it first.
    """
    attempt = f"import cv2; cv2.namedWindow({NAME!r}); cv2.destroyAllWindows()"
    try:
        result = subprocess.run(
            [sys.executable, "-c", attempt],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            timeout=30,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(_REASON) from error
    if result.returncode != 0:
        raise ValueError(_REASON)


def show_picture(picture: np.ndarray, seconds: float | None, name: str = NAME) -> bool:
    """Show a picture; return whether to continue (Escape, q or closing the window stops).

    Args:
        picture: (H, W, 3) uint8 BGR.
        seconds: How long to wait for a key; 0 does not wait, None waits forever.
        name: Title of the window; each has its own.

    Raises:
        ValueError: No window can be opened.
    """
    check_window()
    try:
        cv2.imshow(name, picture)
        return _go_on_after(None if seconds is None else time.monotonic() + seconds, name)
    except cv2.error as error:
        raise ValueError(_REASON) from error


def _go_on_after(end: Optional[float], name: str) -> bool:
    """Wait for a key until ``end`` of the monotonic clock; return whether to continue.

    Waits in short intervals: OpenCV's own wait notices neither a closed window nor Ctrl-C.
    """
    while True:
        left = _TURN if end is None else end - time.monotonic()
        key = cv2.waitKey(max(1, round(1000 * min(left, _TURN)))) & 0xFF
        if key in (_ESCAPE, ord("q")) or StopRequest.is_pending():
            return False
        if cv2.getWindowProperty(name, cv2.WND_PROP_VISIBLE) < 1:
            return False
        if key != _NO_KEY or (end is not None and time.monotonic() >= end):
            return True


def write_note(picture: np.ndarray, text: str) -> np.ndarray:
    """Write a short text into the upper left corner of ``picture``, in place, and return it."""
    height = max(12, round(picture.shape[0] / 30))
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, height / 22
    thickness = max(1, round(scale))
    width = cv2.getTextSize(text, font, scale, thickness)[0][0]
    cv2.rectangle(picture, (0, 0), (width + height, 2 * height), (0, 0, 0), -1)
    place = (height // 2, height + height // 2)
    cv2.putText(picture, text, place, font, scale, (255, 255, 255), thickness, cv2.LINE_AA)
    return picture
