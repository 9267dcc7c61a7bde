"""Batch norm in training with the activation after it: its four passes over channels-last memory.

The rows of a channels-last tensor hold the channels of one pixel. So many rows in a line make a long row that its
length is a multiple of 32, whatever the number of channels is. Sums are taken over blocks of long rows, the same
blocks for any number of threads, in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ehrpose.models.compiled.vector_code import DOUBLE, LANES, Compiled, VectorCode

# Columns whose sums are taken in one go down the rows of a block: two registers for each sum.
TILE = 2 * LANES
ARGUMENTS = (
    "counter", "blocks", "rows", "length", "per_block", "channels", "together", "count", "x", "gradient", "result",
    "table", "sums", "totals", "weight", "bias", "running_mean", "running_var", "momentum", "eps",
)  # fmt: skip
# Rows of the table, float32, as long as the long rows. After them lie the deviations of the channels, float64.
SCALE, SHIFT, MEAN, SLOPE, CONSTANT = range(5)
TABLE_ROWS = 5
# Activations; of those that clip their input, the bounds.
_BOUNDS: dict[str, tuple[float | None, float | None]] = {
    "none": (None, None),
    "relu": (0.0, None),
    "relu6": (0.0, 6.0),
}
ACTS = (*_BOUNDS, "silu")


def _activated(code: VectorCode, value: Any, act: str) -> Any:
    """Return the activation of a vector."""
    if act == "silu":
        return code.product(value, code.sigmoid(value))
    return code.clipped(value, *_BOUNDS[act])


def _passed(code: VectorCode, gradient: Any, before: Any, act: str) -> Any:
    """Return the gradient before an activation, given that after it and the activation's input."""
    if act == "silu":
        gate = code.sigmoid(before)
        slope = code.fused(before, code.minus(code.constant(1.0), gate), code.constant(1.0))
        return code.product(gradient, code.product(gate, slope))
    return code.inside(gradient, before, *_BOUNDS[act])


def begin(half: bool) -> Compiled:
    """table[MEAN] = the first pixel: the distances to a value of a channel lose fewer digits than its squares."""
    code = VectorCode("begin", ARGUMENTS, half)
    with code.loop(0, code.args["channels"]) as channel:
        _write(code, MEAN, channel, code.element(code.args["x"], channel))
    return Compiled(code)


def statistics(half: bool) -> Compiled:
    """Sums of x - table[MEAN] and of its square, per column of a block."""

    def of_tile(code: VectorCode, columns: Any, start: Any, sums: tuple[Any, Any]) -> None:
        value = code.minus(code.elements(code.args["x"], start), columns[0])
        code.set(sums[0], code.total(code.get(sums[0]), value))
        code.set(sums[1], code.fused(value, value, code.get(sums[1])))

    return _sums("statistics", half, (MEAN,), of_tile)


def finish_statistics(half: bool) -> Compiled:
    """Mean and variance of the channels to the table, and into the running ones; from the sums of ``statistics``."""
    code = VectorCode("finish_statistics", ARGUMENTS, half)
    builder, args = code.builder, code.args
    count = builder.sitofp(args["count"], DOUBLE)
    root = code.module.declare_intrinsic("llvm.sqrt", [DOUBLE])
    code.add_rows(args["sums"], args["totals"], args["blocks"], code.times(2, args["length"]))
    with code.loop(0, args["channels"]) as channel:
        near = code.number(_row(code, MEAN), channel)
        first, second = (builder.fdiv(_total(code, kind, channel), count) for kind in (0, 1))
        mean = builder.fadd(near, first)
        variance = builder.fsub(second, builder.fmul(first, first))
        variance = builder.select(builder.fcmp_ordered("<", variance, DOUBLE(0.0)), DOUBLE(0.0), variance)
        deviation = builder.call(root, [builder.fadd(variance, code.as_double("eps"))])
        scale = builder.fdiv(code.number(args["weight"], channel), deviation)
        shift = builder.fsub(code.number(args["bias"], channel), builder.fmul(mean, scale))
        for row, value in ((SCALE, scale), (SHIFT, shift), (MEAN, mean)):
            _write(code, row, channel, value)
        code.set_number(_row(code, TABLE_ROWS), channel, deviation, DOUBLE)
        unbiased = builder.fdiv(builder.fmul(variance, count), builder.fsub(count, DOUBLE(1.0)))
        for name, new in (("running_mean", mean), ("running_var", unbiased)):
            old = code.number(args[name], channel)
            step = builder.fmul(code.as_double("momentum"), builder.fsub(new, old))
            code.set_number(args[name], channel, builder.fadd(old, step))
    return Compiled(code)


def _row(code: VectorCode, row: int) -> Any:
    """Return the address of a row of the table."""
    return code.plus(code.args["table"], code.times(code.args["length"], 4 * row))


def _write(code: VectorCode, row: int, channel: Any, value: Any) -> None:
    """Write a number of a channel to all its columns."""
    start = _row(code, row)
    with code.loop(0, code.args["together"]) as number:
        code.set_number(start, code.plus(code.times(number, code.args["channels"]), channel), value)


def _total(code: VectorCode, kind: int, channel: Any) -> Any:
    """Return one of the two sums of a channel, from those of its columns."""
    args = code.args
    start = code.plus(code.times(args["length"], kind), channel)
    return code.sum_of(
        lambda number: code.number(
            args["totals"], code.plus(start, code.times(number, args["channels"])), DOUBLE
        ),
        args["together"],
    )


def gradient_sums(half: bool, act: str) -> Compiled:
    """Sums of the gradient before the activation, and of it times x - table[MEAN], per column of a block."""

    def of_tile(code: VectorCode, columns: Any, start: Any, sums: tuple[Any, Any]) -> None:
        x = code.elements(code.args["x"], start)
        gradient = code.elements(code.args["gradient"], start)
        passed = _passed(code, gradient, code.fused(x, columns[0], columns[1]), act)
        code.set(sums[0], code.total(code.get(sums[0]), passed))
        code.set(sums[1], code.fused(passed, code.minus(x, columns[2]), code.get(sums[1])))

    return _sums("gradient_sums", half, (SCALE, SHIFT, MEAN), of_tile)


def finish_gradients(half: bool) -> Compiled:
    """table[SLOPE] and table[CONSTANT]; the gradients replace ``weight`` and ``bias``; from ``gradient_sums``."""
    code = VectorCode("finish_gradients", ARGUMENTS, half)
    builder, args = code.builder, code.args
    count = builder.sitofp(args["count"], DOUBLE)
    code.add_rows(args["sums"], args["totals"], args["blocks"], code.times(2, args["length"]))
    with code.loop(0, args["channels"]) as channel:
        first, second = (_total(code, kind, channel) for kind in (0, 1))
        deviation = code.number(_row(code, TABLE_ROWS), channel, DOUBLE)
        second = builder.fdiv(second, deviation)
        share = builder.fneg(builder.fdiv(code.number(_row(code, SCALE), channel), count))
        _write(code, SLOPE, channel, builder.fmul(share, builder.fdiv(second, deviation)))
        _write(code, CONSTANT, channel, builder.fmul(share, first))
        code.set_number(args["weight"], channel, second)
        code.set_number(args["bias"], channel, first)
    return Compiled(code)


def _sums(name: str, half: bool, table_rows: Sequence[int], of_tile: Any) -> Compiled:
    code = VectorCode(name, ARGUMENTS, half)
    length, table = code.args["length"], code.args["table"]
    with code.blocks(code.args["blocks"]) as block:
        first = code.times(block, code.args["per_block"])
        last = code.smaller(code.plus(first, code.args["per_block"]), code.args["rows"])
        with code.loop(0, length, TILE) as column:
            parts = [code.plus(column, part) for part in range(0, TILE, LANES)]
            columns = [
                [code.floats(table, code.plus(part, code.times(row, length))) for row in table_rows]
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
        return _activated(code, code.fused(x, table(SCALE), table(SHIFT)), act)

    return _elementwise("normalise", half, of_vector)


def input_gradient(half: bool, act: str) -> Compiled:
    """Result = gradient before the activation * table[0] + (x - table[2]) * table[3] + table[4]."""

    def of_vector(code: VectorCode, table: Any, start: Any) -> Any:
        x, scale = code.elements(code.args["x"], start), table(SCALE)
        gradient = code.elements(code.args["gradient"], start)
        passed = _passed(code, gradient, code.fused(x, scale, table(SHIFT)), act)
        return code.fused(
            passed, scale, code.fused(code.minus(x, table(MEAN)), table(SLOPE), table(CONSTANT))
        )

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
