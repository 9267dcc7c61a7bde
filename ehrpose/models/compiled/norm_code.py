"""Batch norm in training with the activation after it: its four passes over channels-last memory.

The rows of a channels-last tensor hold the channels of one pixel. So many rows in a line make a long row that its
length is a multiple of 32, whatever the number of channels is. Sums are taken over blocks of long rows, the same
blocks for any number of threads, in float32.
"""

from __future__ import annotations

from typing import Any

from ehrpose.models.compiled.vector_code import LANES, Compiled, VectorCode

# Columns whose sums are taken in one go down the rows of a block: two registers for each sum.
TILE = 2 * LANES
ARGUMENTS = ("counter", "blocks", "rows", "length", "per_block", "x", "gradient", "result", "table", "sums")
# Lower and upper bound of each activation's output.
BOUNDS = {"none": (None, None), "relu": (0.0, None), "relu6": (0.0, 6.0)}


def statistics(half: bool) -> Compiled:
    """Sums of x - table[0] and of its square, per column of a block."""

    def of_tile(code: VectorCode, columns: Any, start: Any, sums: tuple[Any, Any]) -> None:
        value = code.minus(code.elements(code.args["x"], start), columns[0])
        code.set(sums[0], code.total(code.get(sums[0]), value))
        code.set(sums[1], code.fused(value, value, code.get(sums[1])))

    return _sums("statistics", half, 1, of_tile)


def gradient_sums(half: bool, act: str) -> Compiled:
    """Sums of the gradient before the activation, and of it times x - table[2], per column of a block."""
    bounds = BOUNDS[act]

    def of_tile(code: VectorCode, columns: Any, start: Any, sums: tuple[Any, Any]) -> None:
        x = code.elements(code.args["x"], start)
        gradient = code.elements(code.args["gradient"], start)
        passed = code.inside(gradient, code.fused(x, columns[0], columns[1]), *bounds)
        code.set(sums[0], code.total(code.get(sums[0]), passed))
        code.set(sums[1], code.fused(passed, code.minus(x, columns[2]), code.get(sums[1])))

    return _sums("gradient_sums", half, 3, of_tile)


def _sums(name: str, half: bool, tables: int, of_tile: Any) -> Compiled:
    code = VectorCode(name, ARGUMENTS, half)
    length, table = code.args["length"], code.args["table"]
    with code.blocks(code.args["blocks"]) as block:
        first = code.times(block, code.args["per_block"])
        last = code.smaller(code.plus(first, code.args["per_block"]), code.args["rows"])
        with code.loop(0, length, TILE) as column:
            parts = [code.plus(column, part) for part in range(0, TILE, LANES)]
            columns = [
                [code.floats(table, code.plus(part, code.times(row, length))) for row in range(tables)]
                for part in parts
            ]
            sums = [(code.variable(), code.variable()) for _ in parts]
            with code.loop(first, last) as row:
                for part, of_part, pair in zip(parts, columns, sums):
                    of_tile(code, of_part, code.plus(code.times(row, length), part), pair)
            for part, pair in zip(parts, sums):
                for kind, variable in enumerate(pair):
                    place = code.plus(code.times(code.plus(code.times(block, 2), kind), length), part)
                    code.set_floats(code.args["sums"], place, code.get(variable))
    return Compiled(code)


def normalise(half: bool, act: str) -> Compiled:
    """Result = act(x * table[0] + table[1])."""

    def of_vector(code: VectorCode, table: Any, start: Any) -> Any:
        x = code.elements(code.args["x"], start)
        return code.clipped(code.fused(x, table(0), table(1)), *BOUNDS[act])

    return _elementwise("normalise", half, of_vector)


def input_gradient(half: bool, act: str) -> Compiled:
    """Result = gradient before the activation * table[0] + (x - table[2]) * table[3] + table[4]."""

    def of_vector(code: VectorCode, table: Any, start: Any) -> Any:
        x, scale = code.elements(code.args["x"], start), table(0)
        gradient = code.elements(code.args["gradient"], start)
        passed = code.inside(gradient, code.fused(x, scale, table(1)), *BOUNDS[act])
        return code.fused(passed, scale, code.fused(code.minus(x, table(2)), table(3), table(4)))

    return _elementwise("input_gradient", half, of_vector)


def _elementwise(name: str, half: bool, of_vector: Any) -> Compiled:
    code = VectorCode(name, ARGUMENTS, half)
    length = code.args["length"]
    with code.blocks(code.args["blocks"]) as turn:
        # Backwards: the pass before this one ended with the last blocks, which caches may still hold.
        block = code.plus(code.args["blocks"], code.times(turn, -1), -1)
        first = code.times(block, code.args["per_block"])
        last = code.smaller(code.plus(first, code.args["per_block"]), code.args["rows"])
        with code.loop(first, last) as row, code.loop(0, length, LANES) as column:

            def table(index: int) -> Any:
                return code.floats(code.args["table"], code.plus(column, code.times(index, length)))

            start = code.plus(code.times(row, length), column)
            code.set_elements(code.args["result"], start, of_vector(code, table, start))
    return Compiled(code)
