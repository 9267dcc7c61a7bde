"""Parts of the training targets: widths of the Gaussians, loss masks (NumPy and OpenCV only).

Axes: N people, K keypoint types.
"""

from __future__ import annotations

from typing import Union

import cv2
import numpy as np

from ehrpose.oks import areas_of


def oks_widths(
    keypoints: np.ndarray,
    labelled: np.ndarray,
    areas: Union[np.ndarray, None],
    share: float,
    sigmas: np.ndarray,
) -> np.ndarray:
    """Return (N, K) float32 fractions of the OKS tolerance, ``share * 2 * sigma_k * sqrt(area)``, px.

    Args:
        keypoints: (N, K, 2) px.
        labelled: (N, K) bool.
        areas: (N,) px^2; None: from the boxes around the labelled keypoints.
        share: Fraction of the tolerance, from 0.
        sigmas: (K,) OKS tolerances.

    Raises:
        ValueError: ``areas`` has the wrong length.
    """
    if areas is None:
        areas = areas_of(keypoints, labelled, least_side=0.0)
    elif np.shape(areas) != (len(keypoints),):
        raise ValueError(f"expected areas ({len(keypoints)},), got {np.shape(areas)}")
    sizes = np.sqrt(np.maximum(areas, 0))[:, None]
    return (2 * share * sizes * sigmas).astype(np.float32)


def shrink_mask(loss_mask: Union[np.ndarray, None], cells: int) -> np.ndarray:
    """Return the (cells, cells) uint8 mask: on where more than half of the covered input pixels are on."""
    if loss_mask is None:
        return np.ones((cells, cells), np.uint8)
    # With an integer factor INTER_AREA is the mean; NumPy's, over two of four axes, takes several times as long.
    mean = cv2.resize(np.asarray(loss_mask, np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    return (mean > 0.5).astype(np.uint8)
