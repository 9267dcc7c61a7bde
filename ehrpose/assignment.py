"""The cheapest one-to-one assignment of rows to columns, in NumPy alone.

Source: D. F. Crouse, On implementing 2D rectangular assignment algorithms, IEEE Transactions on Aerospace and
Electronic Systems 52(4), 2016: shortest augmenting paths.
"""

from __future__ import annotations

from typing import Tuple

import numpy as np


def linear_sum_assignment(cost: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Return the rows and their columns, both (min(N, M),) int64, at minimum total cost; rows ascend.

    Of equally cheap assignments it takes the same as ``scipy.optimize.linear_sum_assignment``.

    Args:
        cost: (N, M) finite costs.

    Raises:
        ValueError: A cost is not finite.
    """
    cost = np.asarray(cost, np.float64)
    if not np.isfinite(cost).all():
        raise ValueError("expected finite costs of the assignment, got NaN or infinity")
    if cost.shape[0] <= cost.shape[1]:
        return np.arange(cost.shape[0]), _columns_of_rows(cost)
    rows = _columns_of_rows(np.ascontiguousarray(cost.T))
    order = np.argsort(rows)
    return rows[order], order


def _columns_of_rows(table: np.ndarray) -> np.ndarray:
    """Return (N,) int64, the column of each row, of a table with no more rows than columns."""
    rows, columns = table.shape
    nearest = table.argmin(axis=1) if columns else np.zeros(0, np.int64)
    if _is_only_best(table, nearest):
        return nearest
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    column_of, row_of = np.full(rows, -1, np.int64), np.full(columns, -1, np.int64)
    for start in range(rows):
        # Mostly one of the row's cheapest columns is free, and the path to it a single step.
        costs = table[start] - column_price
        equal = np.flatnonzero(costs == costs.min())
        free = equal[row_of[equal] < 0]
        if len(free):
            column_of[start], row_of[free[0]], row_price[start] = free[0], start, costs[free[0]]
            continue
        shortest, before = np.full(columns, np.inf), np.empty(columns, np.int64)
        # From last to first, and a column that is left goes to the place of the one before it in line: this order
        # decides between equal costs.
        line = np.arange(columns - 1, -1, -1)
        seen_rows, seen_columns = [start], []
        row, length, end = start, 0.0, -1
        while end < 0:
            through = length + table[row, line] - row_price[row] - column_price[line]
            shorter = through < shortest[line]
            shortest[line[shorter]], before[line[shorter]] = through[shorter], row
            place = _nearest(shortest[line], row_of[line] < 0)
            column = line[place]
            length = shortest[column]
            if row_of[column] < 0:
                end = int(column)
            else:
                row = row_of[column]
                seen_rows.append(row)
            seen_columns.append(column)
            line[place] = line[-1]
            line = line[:-1]
        row_price[start] += length
        others = np.array(seen_rows[1:], np.int64)
        row_price[others] += length - shortest[column_of[others]]
        column_price[seen_columns] -= length - shortest[seen_columns]
        while True:
            row = before[end]
            row_of[end] = row
            column_of[row], end = end, column_of[row]
            if row == start:
                break
    return column_of


def _is_only_best(table: np.ndarray, nearest: np.ndarray) -> bool:
    """Whether each row has one cheapest column, and none is that of two rows; so it is with most people's tags."""
    equal = table == table[np.arange(len(nearest)), nearest, None]
    return bool(equal.sum() == len(nearest) and (equal.sum(axis=0) <= 1).all())


def _nearest(lengths: np.ndarray, is_free: np.ndarray) -> int:
    """Return the place of the smallest length: of equal ones the last that is free, else the first."""
    equal = np.flatnonzero(lengths == lengths.min())
    free = equal[is_free[equal]]
    return int(free[-1] if len(free) else equal[0])
