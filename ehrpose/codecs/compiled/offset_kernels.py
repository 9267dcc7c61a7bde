"""Numba loops that find candidates and follow offsets to whole people, bit-identical to ``offset_poses``.

Axes: K keypoint types, E edges, M candidates. Positions are (y, x) in input px.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True)


@compiled
def local_maxima(values: np.ndarray, heat: np.ndarray, min_score: np.float32) -> np.ndarray:
    """Return the flat indices, ascending, of pixels that no neighbour exceeds: ``offset_poses._local_maxima``."""
    num_types, height, width = values.shape
    found = np.empty(values.size, np.int64)
    count = 0
    for k in range(num_types):
        for y in range(height):
            for x in range(width):
                if not heat[k, y, x] >= min_score:
                    continue
                own = values[k, y, x]
                highest = True
                for i in range(max(y - 1, 0), min(y + 2, height)):
                    for j in range(max(x - 1, 0), min(x + 2, width)):
                        if values[k, i, j] > own:
                            highest = False
                if highest:
                    found[count] = (k * height + y) * width + x
                    count += 1
    return found[:count].copy()


@compiled
def counted_scores(poses: np.ndarray, radius: float) -> np.ndarray:
    """Return the probabilities of keypoints that no person before has: ``offset_poses.counted_scores``."""
    counted = poses[:, :, 2].copy()
    for n in range(1, len(poses)):
        for k in range(poses.shape[1]):
            for other in range(n):
                dy, dx = poses[n, k, 0] - poses[other, k, 0], poses[n, k, 1] - poses[other, k, 1]
                if dy * dy + dx * dx <= radius * radius:
                    counted[n, k] = 0.0
                    break
    return counted


@compiled
def grow_people(
    heat: np.ndarray, short: np.ndarray, forward: np.ndarray, backward: np.ndarray, ways: np.ndarray,
    types: np.ndarray, pixels: np.ndarray, scores: np.ndarray,
    numbers: Tuple[float, float, float, int, int, bool],
) -> Tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Return poses and their roots' places among the candidates: ``offset_poses.grow_people``.

    Args:
        heat: (K, h, w) float32 probabilities.
        short: (2, K, h, w) float32, y and x.
        forward: (2, E, h, w) float32.
        backward: (2, E, h, w) float32.
        ways: (K, E, 3) int64.
        types: (M,) int64, in the order in which people grow.
        pixels: (M, 2) int64, rows and columns.
        scores: (M,) float32 probabilities.
        numbers: Stride, NMS radius, reach of votes, refine steps, most people, whether values are interpolated.
    """
    stride, radius, reach, steps, most, smooth = numbers
    num_types, num_edges = heat.shape[0], ways.shape[1]
    poses = np.empty((most, num_types, 3))
    roots = np.empty(most, np.int64)
    count = 0
    for m in range(len(types)):
        if count == most:
            break
        k = types[m]
        y = pixels[m, 0] * stride + short[0, k, pixels[m, 0], pixels[m, 1]]
        x = pixels[m, 1] * stride + short[1, k, pixels[m, 0], pixels[m, 1]]
        if smooth:
            y, x = _voted(heat, short, k, y, x, stride, reach)
        taken = False
        for n in range(count):
            dy, dx = poses[n, k, 0] - y, poses[n, k, 1] - x
            if dy * dy + dx * dx <= radius * radius:
                taken = True
                break
        if taken:
            continue
        pose = poses[count]
        pose[k, 0], pose[k, 1], pose[k, 2] = y, x, scores[m]
        for step in range(num_edges):
            source, target, move = ways[k, step]
            y, x = pose[source, 0], pose[source, 1]
            row, column = y / stride, x / stride
            if move < num_edges:
                y = y + _read(forward[0, move], row, column, smooth)
                x = x + _read(forward[1, move], row, column, smooth)
            else:
                y = y + _read(backward[0, move - num_edges], row, column, smooth)
                x = x + _read(backward[1, move - num_edges], row, column, smooth)
            for _ in range(steps):
                row, column = _placed(heat, y / stride, x / stride, smooth)
                y = row * stride + _read(short[0, target], row, column, smooth)
                x = column * stride + _read(short[1, target], row, column, smooth)
            if smooth:
                y, x = _voted(heat, short, target, y, x, stride, reach)
            pose[target, 0], pose[target, 1] = y, x
            pose[target, 2] = _read(heat[target], y / stride, x / stride, smooth)
        roots[count] = m
        count += 1
    return poses[:count], roots[:count]


@compiled
def _placed(heat: np.ndarray, row: float, column: float, smooth: bool) -> Tuple[float, float]:
    """Return the position on the map that is read at ``row`` and ``column``: on it, and a pixel unless ``smooth``."""
    if not smooth:
        row, column = np.floor(row + 0.5), np.floor(column + 0.5)
    return min(max(row, 0.0), heat.shape[1] - 1.0), min(max(column, 0.0), heat.shape[2] - 1.0)


@compiled
def _read(plane: np.ndarray, row: float, column: float, smooth: bool) -> float:
    """Return the value of a map at a position, bilinear if ``smooth``, else of the nearest pixel."""
    height, width = plane.shape
    if not smooth:
        row, column = np.floor(row + 0.5), np.floor(column + 0.5)
    row, column = min(max(row, 0.0), height - 1.0), min(max(column, 0.0), width - 1.0)
    y, x = int(row), int(column)
    if not smooth:
        return plane[y, x] * 1.0
    low, right = min(y + 1, height - 1), min(x + 1, width - 1)
    fy, fx = row - y, column - x
    upper = plane[y, x] * (1.0 - fx) + plane[y, right] * fx
    lower = plane[low, x] * (1.0 - fx) + plane[low, right] * fx
    return upper * (1.0 - fy) + lower * fy


@compiled
def _voted(
    heat: np.ndarray, short: np.ndarray, k: int, y: float, x: float, stride: float, reach: float
) -> Tuple[float, float]:
    """Return the mean of where the pixels around point, by probability and nearness: ``offset_poses.voted``."""
    height, width = heat.shape[1:]
    row = int(min(max(np.floor(y / stride + 0.5), 0.0), height - 1.0))
    column = int(min(max(np.floor(x / stride + 0.5), 0.0), width - 1.0))
    total, sum_y, sum_x = 0.0, 0.0, 0.0
    for i in range(max(row - 1, 0), min(row + 2, height)):
        for j in range(max(column - 1, 0), min(column + 2, width)):
            at_y = i * stride + short[0, k, i, j]
            at_x = j * stride + short[1, k, i, j]
            dy, dx = at_y - y, at_x - x
            near = 1.0 - (dy * dy + dx * dx) / (reach * reach)
            if near > 0:
                weight = heat[k, i, j] * near
                total += weight
                sum_y += weight * at_y
                sum_x += weight * at_x
    if total > 0.05:
        return sum_y / total, sum_x / total
    return y, x
