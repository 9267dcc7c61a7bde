"""Training targets of networks with part-affinity fields (NumPy only).

Source: OpenPose, arXiv:1812.08008, sections 3.2 and 3.3, with the rules of Lightweight OpenPose's code: Gaussians are
added, fields of later people replace those of earlier ones. Positions are (x, y) in map pixels; pixel i is centred at
i.
"""

from __future__ import annotations

from typing import Sequence, Tuple

import numpy as np

# Gaussians are cut off where the exponent is larger: at about 1 % of their peak.
_LARGEST_EXPONENT = 4.6052


def part_positions(
    keypoints: np.ndarray, labelled: np.ndarray, sources: Sequence[Sequence[int]]
) -> Tuple[np.ndarray, np.ndarray]:
    """Return (N, P, 2) float64 positions of the parts, and (N, P) whether all that a part is the mean of is labelled.

    Args:
        keypoints: (N, K, 2).
        labelled: (N, K) bool.
        sources: Keypoint types of each part.
    """
    points = np.asarray(keypoints, np.float64)
    where = [points[:, list(source)].mean(axis=1) for source in sources]
    known = [labelled[:, list(source)].all(axis=1) for source in sources]
    return np.stack(where, axis=1), np.stack(known, axis=1)


def draw_heat(positions: np.ndarray, known: np.ndarray, sigma: float, map_wh: Tuple[int, int]) -> np.ndarray:
    """Return (P + 1, h, w) float32: sums of Gaussians, at most 1, and the background, 1 minus the largest of them.

    Args:
        positions: (N, P, 2) map px.
        known: (N, P) bool.
        sigma: Standard deviation, map px.
        map_wh: w and h.
    """
    width, height = map_wh
    heat = np.zeros((positions.shape[1] + 1, height, width), np.float32)
    reach = sigma * np.sqrt(2 * _LARGEST_EXPONENT)
    for person, part in zip(*np.nonzero(known)):
        x, y = positions[person, part]
        x0, x1 = max(int(np.ceil(x - reach)), 0), min(int(np.floor(x + reach)) + 1, width)
        y0, y1 = max(int(np.ceil(y - reach)), 0), min(int(np.floor(y + reach)) + 1, height)
        if x0 >= x1 or y0 >= y1:
            continue
        squares = (np.arange(y0, y1)[:, None] - y) ** 2 + (np.arange(x0, x1) - x) ** 2
        exponent = squares / (2 * sigma**2)
        heat[part, y0:y1, x0:x1] += np.where(exponent <= _LARGEST_EXPONENT, np.exp(-exponent), 0)
    np.minimum(heat, 1, out=heat)
    heat[-1] = 1 - heat[:-1].max(axis=0)
    return heat


def draw_field(
    positions: np.ndarray,
    known: np.ndarray,
    limbs: Sequence[Tuple[int, int]],
    channels: Sequence[int],
    reach: float,
    map_wh: Tuple[int, int],
) -> np.ndarray:
    """Return (2 L, h, w) float32 unit vectors along the limbs; 0 elsewhere.

    A pixel belongs to a limb if it is no farther than ``reach`` from the line, and in the box around the limb extended
    by ``reach``.

    Args:
        positions: (N, P, 2) map px.
        known: (N, P) bool.
        limbs: Pairs of parts.
        channels: Channel of each limb's x component.
        reach: Half the width of a limb, map px.
        map_wh: w and h.
    """
    width, height = map_wh
    field = np.zeros((2 * len(limbs), height, width), np.float32)
    for (a, b), channel in zip(limbs, channels):
        for person in np.flatnonzero(known[:, a] & known[:, b]):
            start, end = positions[person, a], positions[person, b]
            length = float(np.hypot(*(end - start)))
            if length == 0:
                continue
            ux, uy = (end - start) / length
            low, high = np.minimum(start, end) - reach, np.maximum(start, end) + reach
            x0, x1 = max(int(np.ceil(low[0])), 0), min(int(np.floor(high[0])) + 1, width)
            y0, y1 = max(int(np.ceil(low[1])), 0), min(int(np.floor(high[1])) + 1, height)
            if x0 >= x1 or y0 >= y1:
                continue
            ys, xs = np.arange(y0, y1)[:, None] - start[1], np.arange(x0, x1) - start[0]
            inside = np.abs(xs * uy - ys * ux) <= reach
            field[channel, y0:y1, x0:x1][inside] = ux
            field[channel + 1, y0:y1, x0:x1][inside] = uy
    return field
