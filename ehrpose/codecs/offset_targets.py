"""Training targets of PersonLab: discs and offsets (NumPy only; only training needs it).

Source: PersonLab, arXiv:1803.08225, sections 3.1 and 3.3. Axes: N people, K keypoint types, E edges.
"""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import numpy as np

from ehrpose.oks import extents


def encode_offsets(
    codec: Any, keypoints: np.ndarray, visible: np.ndarray, loss_mask: Optional[np.ndarray]
) -> Dict[str, np.ndarray]:
    """Return the targets that ``PersonLab.encode`` describes.

    In a disc that several people share, offsets are those of the nearest keypoint's person.
    """
    keypoints, visible = np.asarray(keypoints, np.float32), np.asarray(visible)
    n, k, side, stride = len(keypoints), codec.num_keypoints, codec.input_size, codec.stride
    if keypoints.shape != (n, k, 2) or visible.shape != (n, k):
        raise ValueError(
            f"expected keypoints (N, {k}, 2) and visible (N, {k}), got {keypoints.shape} and {visible.shape}"
        )
    if loss_mask is not None and np.shape(loss_mask) != (side, side):
        raise ValueError(f"loss_mask: expected shape {(side, side)}, got {np.shape(loss_mask)}")
    cells = side // stride + 1
    axis = np.arange(cells, dtype=np.float64) * stride
    targets = {
        "heat": np.zeros((k, cells, cells), np.float32),
        "mask": np.ones((cells, cells), np.float32),
    }
    if loss_mask is not None:  # map pixels lie at pixels of the input
        targets["mask"] = (np.asarray(loss_mask)[::stride, ::stride] != 0).astype(np.float32)
    labelled = visible > 0
    owners = np.full((k, cells, cells), -1, np.int64)
    for kind in range(k):
        owner, distance = _nearest(keypoints[:, kind], labelled[:, kind], axis)
        inside = distance <= codec.radius**2
        targets["heat"][kind] = inside
        owners[kind] = np.where(inside, owner, -1)
    kinds = np.arange(k)
    parents, children = codec.tree.edges.T
    targets["short"] = _offsets(owners, keypoints, labelled, kinds, axis)
    targets["forward"] = _offsets(owners[parents], keypoints, labelled, children, axis)
    targets["backward"] = _offsets(owners[children], keypoints, labelled, parents, axis)
    if codec.with_long:
        whole = _people_at(keypoints, labelled, codec.radius, axis)
        targets["long"] = _offsets(np.broadcast_to(whole, owners.shape), keypoints, labelled, kinds, axis)
    return targets


def _nearest(points: np.ndarray, labelled: np.ndarray, axis: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the person with the nearest of (N, 2) points and its squared distance, (h, w) each; inf without any."""
    shape = (len(axis), len(axis))
    if not labelled.any():
        return np.zeros(shape, np.int64), np.full(shape, np.inf)
    people = np.flatnonzero(labelled)
    x, y = points[people].astype(np.float64).T
    squares = (axis[:, None] - y[:, None, None]) ** 2 + (axis - x[:, None, None]) ** 2
    return people[squares.argmin(axis=0)], squares.min(axis=0)


def _offsets(
    owners: np.ndarray, keypoints: np.ndarray, labelled: np.ndarray, targets: np.ndarray, axis: np.ndarray
) -> np.ndarray:
    """Return (2 C, h, w) float32 offsets, y then x, from each pixel to keypoint ``targets[c]`` of its owner.

    Args:
        owners: (C, h, w) person that each pixel belongs to, -1: none.
        keypoints: (N, K, 2) px.
        labelled: (N, K) bool.
        targets: (C,) keypoint types.
        axis: (h,) positions of the map's pixels, px.
    """
    count, cells = len(targets), len(axis)
    result = np.full((2, count, cells, cells), np.nan, np.float32)
    channel, row, column = np.nonzero(owners >= 0)
    person = owners[channel, row, column]
    known = labelled[person, targets[channel]]
    channel, row, column, person = (part[known] for part in (channel, row, column, person))
    x, y = keypoints[person, targets[channel]].astype(np.float64).T
    result[0, channel, row, column] = y - axis[row]
    result[1, channel, row, column] = x - axis[column]
    return result.reshape(2 * count, cells, cells)


def _people_at(keypoints: np.ndarray, labelled: np.ndarray, radius: float, axis: np.ndarray) -> np.ndarray:
    """Return the (h, w) person at each pixel, -1: none.

    There are no outlines at hand: a person is taken to fill the box around the labelled keypoints, ``radius`` larger on
    all sides. Where boxes overlap, the nearest keypoint decides.
    """
    best = np.full((len(axis), len(axis)), np.inf)
    found = np.full(best.shape, -1, np.int64)
    low, high = extents(keypoints, labelled)
    for n in np.flatnonzero(labelled.any(axis=1)):
        (x0, y0), (x1, y1) = low[n] - radius, high[n] + radius
        inside = ((axis >= y0) & (axis <= y1))[:, None] & ((axis >= x0) & (axis <= x1))
        x, y = keypoints[n, labelled[n]].astype(np.float64).T
        squares = ((axis[:, None] - y[:, None, None]) ** 2 + (axis - x[:, None, None]) ** 2).min(axis=0)
        nearer = inside & (squares < best)
        best, found = np.where(nearer, squares, best), np.where(nearer, n, found)
    return found
