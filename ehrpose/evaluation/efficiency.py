"""Accuracy-efficiency: one number for accuracy, speed and power.

Source: EfficientHRNet, arXiv:2007.08090, Table 5.
"""

from __future__ import annotations

import math


def accuracy_efficiency(ap: float, fps: float, watts: float) -> float:
    """Return ``ap * fps / watts``.

    The paper's table takes AP in percent and the nameplate 15 W of the board, not a measurement.

    Args:
        ap: Average precision, percent, 0 to 100.
        fps: Frames a second, not negative.
        watts: Power, positive.

    Raises:
        ValueError: A value is out of range.
    """
    if not (0 <= ap <= 100 and 0 <= fps < math.inf and 0 < watts < math.inf):
        raise ValueError(f"wanted ap 0 to 100, fps from 0 and positive watts; got {ap}, {fps}, {watts}")
    return ap * fps / watts
