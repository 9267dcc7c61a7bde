"""Numba loops that group candidates into people, bit-identical to ``grouping._group``.

Axes: K keypoint types, T tag length, N people, M candidates.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np
from numba import njit

compiled = njit(cache=True, nogil=True)


@compiled
def group(
    scores: np.ndarray, tags: np.ndarray, offsets: np.ndarray, order: np.ndarray, max_tag_dist: float
) -> Tuple[np.ndarray, np.ndarray]:
    """Return the candidate of each person and type, and the mean tag of each person: ``grouping._group``."""
    most, num_tags = tags.shape
    candidate = np.full((most, len(order)), -1, np.int64)
    sums, counts = np.zeros((most, num_tags)), np.zeros(most)
    num_people = 0
    for k in order:
        first, number = offsets[k], offsets[k + 1] - offsets[k]
        person = np.full(number, -1, np.int64)
        if num_people and number:
            distance, cost = np.empty((number, num_people)), np.empty((number, num_people))
            for i in range(number):
                for j in range(num_people):
                    squares = 0.0
                    difference = 0.0
                    for t in range(num_tags):
                        difference = tags[first + i, t] - sums[j, t] / counts[j]
                        squares += difference * difference
                    distance[i, j] = abs(difference) if num_tags == 1 else np.sqrt(squares)
                    cost[i, j] = np.rint(distance[i, j]) * 100 - scores[first + i]
            person = assign(cost)
            for i in range(number):
                if person[i] >= 0 and not distance[i, person[i]] <= max_tag_dist:
                    person[i] = -1
        for i in range(number):
            if person[i] < 0:
                person[i] = num_people
                num_people += 1
            candidate[person[i], k] = i
            sums[person[i]] += tags[first + i]
            counts[person[i]] += 1
    means = np.empty((num_people, num_tags))
    for j in range(num_people):
        means[j] = sums[j] / counts[j]
    return candidate[:num_people], means


@compiled
def assign(cost: np.ndarray) -> np.ndarray:
    """Return the column assigned to each row (-1: none) at minimum total cost.

    Shortest augmenting paths, with ties broken as in ``scipy.optimize.linear_sum_assignment``: rows in order, on a
    matrix with no more rows than columns; columns from last to first; a free column before an assigned one.

    Raises:
        ValueError: The costs are not finite.
    """
    transposed = cost.shape[0] > cost.shape[1]
    table = cost.T.copy() if transposed else cost
    rows, columns = table.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    column_of, row_of = np.full(rows, -1, np.int64), np.full(columns, -1, np.int64)
    shortest, before = np.empty(columns), np.empty(columns, np.int64)
    open_columns = np.empty(columns, np.int64)
    for start in range(rows):
        shortest[:] = np.inf
        row_seen, column_seen = np.zeros(rows, np.bool_), np.zeros(columns, np.bool_)
        num_open = columns
        for i in range(columns):
            open_columns[i] = columns - 1 - i
        row, length, end = start, 0.0, -1
        while end < 0:
            row_seen[row] = True
            nearest, least = -1, np.inf
            for i in range(num_open):
                column = open_columns[i]
                through = length + table[row, column] - row_price[row] - column_price[column]
                if through < shortest[column]:
                    shortest[column], before[column] = through, row
                if shortest[column] < least or (shortest[column] == least and row_of[column] < 0):
                    nearest, least = i, shortest[column]
            if not least < np.inf:  # no column can be reached: scipy's function refuses such costs too
                raise ValueError("the costs of the assignment are not finite")
            length = least
            column = open_columns[nearest]
            if row_of[column] < 0:
                end = column
            else:
                row = row_of[column]
            column_seen[column] = True
            num_open -= 1
            open_columns[nearest] = open_columns[num_open]
        row_price[start] += length
        for i in range(rows):
            if row_seen[i] and i != start:
                row_price[i] += length - shortest[column_of[i]]
        for i in range(columns):
            if column_seen[i]:
                column_price[i] -= length - shortest[i]
        while True:
            row = before[end]
            row_of[end] = row
            column_of[row], end = end, column_of[row]
            if row == start:
                break
    return row_of if transposed else column_of
