"""Sub-pixel positions of peaks by a second-order expansion of the heatmap's logarithm (NumPy only).

Source: DARK, arXiv:1910.06278, in the form that UDP (arXiv:1911.07524) uses: kernel of 3 px, values limited to 0.001 to
50, edge pixels repeated. Axes: K keypoint types, M peaks.
"""

from __future__ import annotations

import numpy as np

# Weights of the three pixels of the Gaussian blur along each axis.
_BLUR = np.array([0.25, 0.5, 0.25], np.float32)
_LIMITS = 0.001, 50.0
# Added to the diagonal of the second derivatives, so that those of flat maps can be inverted.
_EPSILON = float(np.finfo(np.float32).eps)
# A farther maximum is not trusted: a peak is the highest within two pixels, so the surface is nearly flat there.
MAX_MOVE = 2.0


def dark_peak(heatmaps: np.ndarray, types: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Return (M, 2) x, y of the maximum near each pixel; the pixel itself where that is over ``MAX_MOVE`` px away.

    Args:
        heatmaps: (K, H, W) float32.
        types: (M,) keypoint type of each peak.
        ys: (M,) its row.
        xs: (M,) its column.
    """
    log = np.log(np.clip(_blurred_windows(heatmaps, types, ys, xs).astype(np.float64), *_LIMITS))
    centre, left, right = log[:, 1, 1], log[:, 1, 0], log[:, 1, 2]
    above, below = log[:, 0, 1], log[:, 2, 1]
    dx, dy = 0.5 * (right - left), 0.5 * (below - above)
    dxx = right - 2 * centre + left + _EPSILON
    dyy = below - 2 * centre + above + _EPSILON
    dxy = 0.5 * (log[:, 2, 2] - right - below + 2 * centre - left - above + log[:, 0, 0])
    determinant = dxx * dyy - dxy * dxy
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        moves = np.stack([dyy * dx - dxy * dy, dxx * dy - dxy * dx], axis=-1) / -determinant[:, None]
        trusted = (np.abs(moves) <= MAX_MOVE).all(axis=1, keepdims=True)  # False for NaN
    return np.stack([xs, ys], axis=-1) + np.where(trusted, moves, 0.0)


def _blurred_windows(heatmaps: np.ndarray, types: np.ndarray, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """Return the (M, 3, 3) windows around pixels of the blurred heatmaps, edge pixels repeated."""
    height, width = heatmaps.shape[1:]
    rows, columns = _around(ys, height), _around(xs, width)
    values = heatmaps[types[:, None, None, None, None], rows[:, :, :, None, None], columns[:, None, None]]
    # (M, 3, 3, 3, 3): row of the window, row of the blur, column of the window, column of the blur.
    return np.einsum("mrpcq,p,q->mrc", values, _BLUR, _BLUR)


def _around(at: np.ndarray, size: int) -> np.ndarray:
    """Return (M, 3, 3): the pixels that blur each pixel of a window, mirrored at the first and the last pixel."""
    steps = np.arange(-1, 2)
    inside = np.clip(at[:, None] + steps, 0, size - 1)
    spread = np.abs(inside[:, :, None] + steps)
    return np.clip(np.where(spread >= size, 2 * (size - 1) - spread, spread), 0, size - 1)
