"""Numba loops that search around each person for missing keypoints, bit-identical to ``fast_decoding.fill_nearby``.

Every pixel of a window is visited, a row at a time in vector registers: at about eight pixels a nanosecond that is
cheaper than bounds that would let parts of a window be skipped. Axes: K keypoint types, T tag length, N people, F
searches.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit

from ehrpose.codecs.compiled.vector_max import LOWEST, greater

compiled = njit(cache=True, nogil=True)
ROUND = np.float32(2.0**23)  # from here on all float32 are whole numbers: adding it rounds


@compiled
def best_in_windows(
    heat: np.ndarray,
    tags: np.ndarray,
    person_tags: np.ndarray,
    owners: np.ndarray,
    types: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
) -> Tuple[np.ndarray, np.ndarray]:
    """Return y and x of the highest ``heat - round(tag distance)`` of each search: ``fast_decoding._best_in_windows``.

    Args:
        heat: (K, H, W) float32.
        tags: (T, K, H, W) float32.
        person_tags: (N, T) float32.
        owners: (F,) person of each search.
        types: (F,) keypoint type of each search.
        low: (N, 2) first x and y of each person's window.
        high: (N, 2) last x and y plus one.
    """
    ys, xs = np.empty(len(owners), np.int64), np.empty(len(owners), np.int64)
    squares = np.empty(heat.shape[2], np.float32)
    for i in range(len(owners)):
        n, k = owners[i], types[i]
        if len(tags) == 1:
            ys[i], xs[i] = _search(heat[k], tags[0, k], person_tags[n, 0], low[n], high[n])
        else:
            ys[i], xs[i] = _search_long(heat[k], tags, k, person_tags[n], low[n], high[n], squares)
    return ys, xs


@compiled
def _search(
    heat: np.ndarray, tags: np.ndarray, person_tag: np.float32, low: np.ndarray, high: np.ndarray
) -> Tuple[int, int]:
    """Search one window for tags of one number."""
    left, right = low[0], high[0]
    best, best_y = LOWEST, low[1]
    for y in range(low[1], high[1]):
        value = _highest(heat[y, left:right], tags[y, left:right], person_tag)
        if value > best:
            best, best_y = value, y
    x = left
    while x < right - 1 and heat[best_y, x] - _round(abs(tags[best_y, x] - person_tag)) != best:
        x += 1
    return best_y, x


@compiled
def _search_long(
    heat: np.ndarray, tags: np.ndarray, k: int, person_tag: np.ndarray, low: np.ndarray, high: np.ndarray,
    squares: np.ndarray,
) -> Tuple[int, int]:  # fmt: skip
    """Search one window of type k for tags (T, K, H, W) of several numbers; ``squares`` (W,) is scratch."""
    left, right = low[0], high[0]
    row = squares[: right - left]
    best, best_y = LOWEST, low[1]
    for y in range(low[1], high[1]):
        for t in range(len(person_tag)):
            _add_squares(tags[t, k, y, left:right], person_tag[t], t == 0, row)
        value = _highest_of_squares(heat[y, left:right], row)
        if value > best:
            best, best_y = value, y
    for t in range(len(person_tag)):
        _add_squares(tags[t, k, best_y, left:right], person_tag[t], t == 0, row)
    x = 0
    while x < row.size - 1 and heat[best_y, left + x] - _round(np.sqrt(row[x])) != best:
        x += 1
    return best_y, left + x


@compiled
def _highest(heat: np.ndarray, tags: np.ndarray, person_tag: np.float32) -> np.float32:
    """Return the highest ``heat - round(tag distance)`` of a row."""
    highest = LOWEST
    for x in range(heat.size):
        highest = greater(heat[x] - _round(abs(tags[x] - person_tag)), highest)
    return highest


@compiled
def _highest_of_squares(heat: np.ndarray, squares: np.ndarray) -> np.float32:
    """Return the highest ``heat - round(tag distance)`` of a row, from the squares of the distances."""
    highest = LOWEST
    for x in range(heat.size):
        highest = greater(heat[x] - _round(np.sqrt(squares[x])), highest)
    return highest


@compiled
def _add_squares(tags: np.ndarray, person_tag: np.float32, is_first: bool, squares: np.ndarray) -> None:
    """Add the squares of the differences in one number of the tags; the first number starts the sum."""
    for x in range(squares.size):
        difference = tags[x] - person_tag
        squares[x] = difference * difference + (np.float32(0) if is_first else squares[x])


@compiled
def _round(value: np.float32) -> np.float32:
    """Round a float32 of at least 0, half to even; np.rint would be a call here, which is not vectorised."""
    return value if value >= ROUND else (value + ROUND) - ROUND
