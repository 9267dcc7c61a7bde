"""Depthwise convolution over channels-last memory: result, and gradients of input and weights.

A block of work is 16 channels of one image, one vector register wide. Its input is copied to a float32 plane with a
border of zeros first, so that no loop has to look for the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ehrpose.models.compiled.vector_code import LANES, Compiled, VectorCode

ARGUMENTS = (
    "counter", "slots", "blocks", "groups", "channels", "height", "width", "out_height", "out_width",
    "x", "gradient", "result", "weights", "parts", "planes", "plane_size", "rows", "columns", "out_rows", "out_columns",
)  # fmt: skip
# Results that are computed at once, so that a weight is loaded once for all.
_TOGETHER = 4


@dataclass(frozen=True)
class Window:
    """A depthwise kernel: side, stride, and zeros before the input's first row and column."""

    kernel: int
    stride: int
    before: int

    def taps(self, remainder: int) -> list[tuple[int, int]]:
        """Return (weight, offset) along one axis: inputs at stride * i + remainder reach results i + offset."""
        places = [(k, remainder + self.before - k) for k in range(self.kernel)]
        return [(k, place // self.stride) for k, place in places if place % self.stride == 0]

    def reach(self) -> tuple[int, int]:
        """Return the least and greatest offset of ``taps``."""
        offsets = [offset for remainder in range(self.stride) for _, offset in self.taps(remainder)]
        return min(offsets), max(offsets)


class _Planes:
    """Code that fills and reads the padded planes of a block."""

    def __init__(self, name: str, half: bool, window: Window):
        self.code, self.window = VectorCode(name, ARGUMENTS, half), window
        code = self.code
        slot = code.builder.atomic_rmw("add", code.place(1), code.whole(1), "monotonic")
        self.plane = code.plus(code.args["planes"], code.times(slot, code.args["plane_size"], 4))
        with code.loop(0, code.args["plane_size"], LANES) as index:
            code.set_floats(self.plane, index, code.constant(0.0))

    def block(self, block: Any) -> tuple[Any, Any]:
        """Return a block's image and the first of its channels."""
        builder, groups = self.code.builder, self.code.args["groups"]
        return builder.sdiv(block, groups), self.code.times(builder.srem(block, groups), LANES)

    def pixel(self, image: Any, row: Any, column: Any, size: tuple[str, str], channel: Any) -> Any:
        """Return the index of a pixel's channel in a tensor."""
        code = self.code
        height, width = (code.args[name] for name in size)
        line = code.plus(code.times(image, height), row)
        return code.plus(
            code.times(code.plus(code.times(line, width), column), code.args["channels"]), channel
        )

    def fill(
        self,
        tensor: str,
        block: tuple[Any, Any],
        size: tuple[str, str],
        start: Any,
        columns: Any,
        border: int,
    ) -> None:
        """Copy 16 channels of a tensor to the plane that starts at ``start``, after ``border`` rows and columns."""
        code, (image, channel) = self.code, block
        height, width = (code.args[name] for name in size)
        with code.loop(0, height) as row, code.loop(0, width) as column:
            value = code.elements(code.args[tensor], self.pixel(image, row, column, size, channel))
            line = code.times(code.plus(row, border), columns)
            code.set_floats(
                self.plane, code.plus(start, code.times(code.plus(line, column, border), LANES)), value
            )

    def convolve(
        self,
        block: tuple[Any, Any],
        source: tuple[Any, Any],
        taps: Sequence[tuple[int, int, int]],
        step: int,
        size: tuple[str, str],
        spread: tuple[int, int, int],
    ) -> None:
        """Write sums of the plane's pixels times weights to the result.

        Args:
            block: Image and channel.
            source: Start and columns of the plane.
            taps: Weight, row and column offset of each term.
            step: Distance of neighbours in the plane.
            size: Arguments with the height and width of the result.
            spread: Distance of neighbours in the result, row and column of the first.
        """
        code, (image, channel), (start, columns) = self.code, block, source
        stride, row_of_first, column_of_first = spread
        ends = []
        for name, first in zip(size, (row_of_first, column_of_first)):
            left = code.plus(code.args[name], stride - 1 - first)
            ends.append(code.builder.sdiv(left, code.whole(stride)))
        # As many as fit, in groups; then one by one.
        in_groups = code.times(code.builder.sdiv(ends[1], code.whole(_TOGETHER)), _TOGETHER)

        def write(row: Any, column: Any, together: int) -> None:
            sums = [code.constant(0.0)] * together
            for weight, down, right in taps:
                scale = code.floats(
                    code.args["weights"], code.plus(code.times(code.args["channels"], weight), channel)
                )
                line = code.times(code.plus(code.times(row, step), down), columns)
                for number in range(together):
                    along = code.plus(code.times(column, step), number * step + right)
                    value = code.floats(
                        self.plane, code.plus(start, code.times(code.plus(line, along), LANES))
                    )
                    sums[number] = code.fused(value, scale, sums[number])
            for number, total in enumerate(sums):
                at_row = code.plus(code.times(row, stride), row_of_first)
                at_column = code.plus(code.times(column, stride), number * stride + column_of_first)
                code.set_elements(
                    code.args["result"], self.pixel(image, at_row, at_column, size, channel), total
                )

        with code.loop(0, ends[0]) as row:
            with code.loop(0, in_groups, _TOGETHER) as column:
                write(row, column, _TOGETHER)
            with code.loop(in_groups, ends[1]) as column:
                write(row, column, 1)


def forward(half: bool, window: Window) -> Compiled:
    """Result = the convolution of x with the weights."""
    planes = _Planes("forward", half, window)
    code, side = planes.code, range(window.kernel)
    taps = [(row * window.kernel + column, row, column) for row in side for column in side]
    with code.blocks(code.args["blocks"]) as number:
        block, columns = planes.block(number), code.args["columns"]
        planes.fill("x", block, ("height", "width"), code.whole(0), columns, window.before)
        size = ("out_height", "out_width")
        planes.convolve(block, (code.whole(0), columns), taps, window.stride, size, (1, 0, 0))
    return Compiled(code)


def backward(half: bool, window: Window) -> Compiled:
    """Result = the gradient of x; parts = those of the weights, (B, kernel * kernel, C), by image."""
    planes = _Planes("backward", half, window)
    code, size, side = planes.code, ("height", "width"), range(window.kernel)
    out_size = ("out_height", "out_width")
    columns, out_columns = code.args["columns"], code.args["out_columns"]
    border = -window.reach()[0]
    with code.blocks(code.args["blocks"]) as number:
        block = planes.block(number)
        image, channel = block
        second = code.times(code.args["rows"], columns, LANES)
        planes.fill("x", block, size, code.whole(0), columns, window.before)
        planes.fill("gradient", block, out_size, second, out_columns, border)
        for down in side:
            sums = [code.variable() for _ in side]
            for variable in sums:
                code.set(variable, code.constant(0.0))
            with code.loop(0, code.args["out_height"]) as row, code.loop(0, code.args["out_width"]) as column:
                line = code.times(code.plus(row, border), out_columns)
                place = code.times(code.plus(line, column, border), LANES)
                gradient = code.floats(planes.plane, code.plus(second, place))
                line = code.times(code.plus(code.times(row, window.stride), down), columns)
                for right, variable in enumerate(sums):
                    along = code.plus(code.times(column, window.stride), right)
                    value = code.floats(planes.plane, code.times(code.plus(line, along), LANES))
                    code.set(variable, code.fused(value, gradient, code.get(variable)))
            for right, variable in enumerate(sums):
                line = code.plus(code.times(image, window.kernel**2), down * window.kernel + right)
                place = code.plus(code.times(line, code.args["channels"]), channel)
                code.set_floats(code.args["parts"], place, code.get(variable))
        for of_row in range(window.stride):
            for of_column in range(window.stride):
                taps = [
                    (y * window.kernel + x, down + border, right + border)
                    for y, down in window.taps(of_row)
                    for x, right in window.taps(of_column)
                ]
                spread = (window.stride, of_row, of_column)
                planes.convolve(block, (second, out_columns), taps, 1, size, spread)
    return Compiled(code)
