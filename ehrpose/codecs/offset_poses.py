"""Growing people from candidates along offsets: PersonLab's and PoseNet's greedy decoding (NumPy, or numba).

Source: PersonLab, arXiv:1803.08225, section 3.2; PoseNet's multi-pose decoding, which its authors published.
Axes: K keypoint types, E edges, M candidates, N people. Positions are (y, x) in input px, as in the maps; map pixel
(i, j) lies at (i * stride, j * stride).
"""

from __future__ import annotations

from typing import NamedTuple, Tuple

import numpy as np

from ehrpose.codecs.accelerator import kernel
from ehrpose.codecs.heatmap import rank_peaks
from ehrpose.codecs.offset_tree import OffsetTree

# A position whose neighbours give less than this in all stays where it is.
LEAST_VOTES = 0.05


class OffsetFields(NamedTuple):
    """The maps of one image in the form that decoding reads.

    Attributes:
        heat: (K, h, w) float32 probabilities.
        short: (2, K, h, w) float32, y and x.
        forward: (2, E, h, w) float32.
        backward: (2, E, h, w) float32.
        stride: Px of the input between map pixels.
    """

    heat: np.ndarray
    short: np.ndarray
    forward: np.ndarray
    backward: np.ndarray
    stride: float


class Candidates(NamedTuple):
    """Places where a person may begin, best first.

    Attributes:
        types: (M,) int64.
        pixels: (M, 2) int64, rows and columns.
        scores: (M,) float32 probabilities.
    """

    types: np.ndarray
    pixels: np.ndarray
    scores: np.ndarray


class Growth(NamedTuple):
    """How people grow.

    Attributes:
        nms_radius: No person grows where a better one has the same keypoint within this distance, px.
        refine_steps: Times that a position is refined with short offsets.
        max_people: Most people.
        smooth: Values between pixels are interpolated, and positions averaged with those that the neighbours point to;
            False: values are those of the nearest pixel.
    """

    nms_radius: float
    refine_steps: int
    max_people: int
    smooth: bool


def find_candidates(values: np.ndarray, heat: np.ndarray, min_score: float, most: int) -> Candidates:
    """Return the local maxima (3 x 3) of maps, best first, ties by type and raster order.

    Args:
        values: (K, h, w) float32, contiguous: logits, or scores. Logits tell maxima apart where probabilities are 1.
        heat: (K, h, w) float32 probabilities.
        min_score: Least probability.
        most: Most candidates of each type.
    """
    found = (kernel("local_maxima", "offset_kernels") or _local_maxima)(values, heat, np.float32(min_score))
    scores = values.reshape(-1)[found]
    types = found // values[0].size
    if np.bincount(types, minlength=1).max() > most:
        peaks = rank_peaks(found, scores, values.shape, most)
        found = (peaks.types * values.shape[1] + peaks.ys) * values.shape[2] + peaks.xs
        types, scores = peaks.types, peaks.scores
    order = np.argsort(-scores, kind="stable")
    found, types = found[order], types[order]
    rows, columns = np.divmod(found, values.shape[2])
    pixels = np.stack([rows - types * values.shape[1], columns], axis=1)
    return Candidates(types, pixels, heat.reshape(-1)[found])


def _local_maxima(values: np.ndarray, heat: np.ndarray, min_score: np.float32) -> np.ndarray:
    """Return the flat indices, ascending, of pixels from ``min_score`` on that no direct neighbour exceeds."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    types, rows, columns = np.nonzero(heat >= min_score)
    own = values[types, rows, columns]
    highest = np.ones(len(own), bool)
    for dy in (0, 1, 2):
        for dx in (0, 1, 2):
            highest &= padded[types, rows + dy, columns + dx] <= own
    found = np.ravel_multi_index((types, rows, columns), values.shape)
    return np.asarray(found[highest], np.int64)


def grow_people(
    fields: OffsetFields, tree: OffsetTree, candidates: Candidates, growth: Growth
) -> Tuple[np.ndarray, np.ndarray]:
    """Return the poses that grow from candidates, in order, unless a pose before has the candidate's keypoint there.

    Returns:
        (N, K, 3) float64 poses, y, x and probability; (N,) int64 places of their roots among the candidates.
    """
    loop = kernel("grow_people", "offset_kernels")
    if loop is None:
        roots = root_positions(fields, candidates, growth.smooth)
        poses = grown_poses(fields, tree, candidates, roots, growth)
        return keep_apart(poses, candidates.types, roots, growth)
    numbers = (
        float(fields.stride), float(growth.nms_radius), float(fields.stride), growth.refine_steps, growth.max_people,
        growth.smooth,
    )  # fmt: skip
    found: Tuple[np.ndarray, np.ndarray] = loop(*fields[:4], tree.ways, *candidates, numbers)
    return found


def keep_apart(
    poses: np.ndarray, types: np.ndarray, roots: np.ndarray, growth: Growth
) -> Tuple[np.ndarray, np.ndarray]:
    """Return the poses, in order, whose root is not within the NMS radius of that keypoint of a pose kept before.

    Args:
        poses: (M, K, 3) y, x and probability.
        types: (M,) keypoint type of each root.
        roots: (M, 2) y and x of each root.
        growth: The NMS radius and the number of poses.
    """
    kept = np.zeros((0,), np.int64)
    limit = growth.nms_radius * growth.nms_radius
    for m in range(len(poses)):
        if len(kept) == growth.max_people:
            break
        dy, dx = (poses[kept, types[m], axis] - roots[m, axis] for axis in (0, 1))
        if not (dy * dy + dx * dx <= limit).any():
            kept = np.append(kept, m)
    return poses[kept], kept


def root_positions(fields: OffsetFields, candidates: Candidates, smooth: bool) -> np.ndarray:
    """Return (M, 2) float64 positions to which the short offsets of candidates point."""
    types, (rows, columns) = candidates.types, candidates.pixels.T
    y, x = (
        at * float(fields.stride) + fields.short[axis, types, rows, columns]
        for axis, at in enumerate((rows, columns))
    )
    return np.stack(voted(fields, types, y, x) if smooth else (y, x), axis=1)


def grown_poses(
    fields: OffsetFields, tree: OffsetTree, candidates: Candidates, roots: np.ndarray, growth: Growth
) -> np.ndarray:
    """Return the (M, K, 3) poses that grow from all candidates, at (M, 2) ``roots``; see ``grow_people``."""
    types, stride, smooth = candidates.types, float(fields.stride), growth.smooth
    num_types, num_edges = len(fields.heat), tree.num_edges
    moves = np.concatenate([fields.forward, fields.backward], axis=1)
    poses = np.zeros((len(types), num_types, 3))
    poses[np.arange(len(types)), types] = np.column_stack([roots, candidates.scores])
    step_levels = np.take_along_axis(tree.levels, tree.ways[:, :, 1], axis=1).reshape(num_types, num_edges)
    for level in range(1, int(tree.levels.max()) + 1):
        people, steps = np.nonzero((step_levels == level)[types])
        source, target, move = tree.ways[types[people], steps].T
        y, x = poses[people, source, 0], poses[people, source, 1]
        row, column = y / stride, x / stride
        y = y + _read(moves[0], move, row, column, smooth)
        x = x + _read(moves[1], move, row, column, smooth)
        for _ in range(growth.refine_steps):
            row, column = _placed(fields.heat.shape, y / stride, x / stride, smooth)
            y = row * stride + _read(fields.short[0], target, row, column, smooth)
            x = column * stride + _read(fields.short[1], target, row, column, smooth)
        if smooth:
            y, x = voted(fields, target, y, x)
        score = _read(fields.heat, target, y / stride, x / stride, smooth)
        poses[people, target] = np.stack([y, x, score], axis=1)
    return poses


def _placed(
    shape: Tuple[int, ...], row: np.ndarray, column: np.ndarray, smooth: bool
) -> Tuple[np.ndarray, np.ndarray]:
    """Return the positions on the map that are read at ``row`` and ``column``: on it, and pixels unless ``smooth``."""
    if not smooth:
        row, column = np.floor(row + 0.5), np.floor(column + 0.5)
    return np.clip(row, 0.0, shape[1] - 1.0), np.clip(column, 0.0, shape[2] - 1.0)


def _read(
    maps: np.ndarray, channels: np.ndarray, row: np.ndarray, column: np.ndarray, smooth: bool
) -> np.ndarray:
    """Return float64 values of maps (C, h, w) at positions, bilinear if ``smooth``, else of the nearest pixels."""
    height, width = maps.shape[1:]
    row, column = _placed(maps.shape, row, column, smooth)
    y, x = row.astype(np.int64), column.astype(np.int64)
    if not smooth:
        return np.asarray(maps[channels, y, x], np.float64)
    low, right = np.minimum(y + 1, height - 1), np.minimum(x + 1, width - 1)
    fy, fx = row - y, column - x
    upper = maps[channels, y, x] * (1.0 - fx) + maps[channels, y, right] * fx
    lower = maps[channels, low, x] * (1.0 - fx) + maps[channels, low, right] * fx
    return np.asarray(upper * (1.0 - fy) + lower * fy)


def voted(
    fields: OffsetFields, types: np.ndarray, y: np.ndarray, x: np.ndarray
) -> Tuple[np.ndarray, np.ndarray]:
    """Return positions averaged with those to which the nine pixels around point: Hough voting on the spot.

    The weight of a pixel is its probability times ``1 - (distance / stride)**2``, as long as that is positive, of the
    place that it points to; where all weights are at most ``LEAST_VOTES``, the position stays.

    Args:
        fields: The maps.
        types: (M,) keypoint types.
        y: (M,) rows, px.
        x: (M,) columns, px.
    """
    stride, (height, width) = float(fields.stride), fields.heat.shape[1:]
    row, column = (at.astype(np.int64) for at in _placed(fields.heat.shape, y / stride, x / stride, False))
    total, sum_y, sum_x = np.zeros_like(y), np.zeros_like(y), np.zeros_like(y)
    for dr in (-1, 0, 1):
        for dc in (-1, 0, 1):
            i, j = row + dr, column + dc
            inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
            i, j = np.clip(i, 0, height - 1), np.clip(j, 0, width - 1)
            at_y = i * stride + fields.short[0, types, i, j]
            at_x = j * stride + fields.short[1, types, i, j]
            dy, dx = at_y - y, at_x - x
            near = 1.0 - (dy * dy + dx * dx) / (stride * stride)
            weight = np.where(inside & (near > 0), fields.heat[types, i, j] * near, 0.0)
            total += weight
            sum_y += weight * at_y
            sum_x += weight * at_x
    enough = total > LEAST_VOTES
    total = np.where(enough, total, 1.0)
    return np.where(enough, sum_y / total, y), np.where(enough, sum_x / total, x)


def counted_scores(poses: np.ndarray, radius: float) -> np.ndarray:
    """Return (N, K) probabilities, 0 where a person before has the same keypoint within ``radius`` px."""
    loop = kernel("counted_scores", "offset_kernels")
    if loop is not None:
        counted: np.ndarray = loop(poses, float(radius))
        return counted
    dy, dx = (poses[:, None, :, axis] - poses[None, :, :, axis] for axis in (0, 1))
    near = dy * dy + dx * dx <= radius * radius
    before = np.tri(len(poses), k=-1, dtype=bool)[:, :, None]
    return np.where((near & before).any(axis=1), 0.0, poses[..., 2])


def hough_maps(fields: OffsetFields, radius: float) -> np.ndarray:
    """Return PersonLab's Hough score maps (K, h, w) float32: what pixels give to where their short offsets point.

    Each gives its probability, bilinearly, to the four pixels around; the sum is divided by the number of pixels in a
    disc of ``radius`` px (at least 1).
    """
    k, height, width = fields.heat.shape
    stride = float(fields.stride)
    rows = np.arange(height)[:, None] + fields.short[0] / stride
    columns = np.arange(width) + fields.short[1] / stride
    top, left = np.floor(rows), np.floor(columns)
    votes = np.zeros((k, height, width))
    kinds = np.broadcast_to(np.arange(k)[:, None, None], votes.shape)
    for dy in (0, 1):
        for dx in (0, 1):
            y, x = (top + dy).astype(np.int64), (left + dx).astype(np.int64)
            weight = fields.heat * (1 - np.abs(rows - y)) * (1 - np.abs(columns - x))
            inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
            np.add.at(votes, (kinds[inside], y[inside], x[inside]), weight[inside])
    return (votes / max(np.pi * (radius / stride) ** 2, 1.0)).astype(np.float32)
