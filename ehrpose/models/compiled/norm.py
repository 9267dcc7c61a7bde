"""Batch norm with the activation after it, as one autograd function over compiled kernels."""

from __future__ import annotations

import math
import struct
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ehrpose.models.compiled import norm_code
from ehrpose.models.compiled.threads import run, run_parallel

# Elements of a block: its tensors stay in the second cache, and a step has many more blocks than threads.
_BLOCK = 32768


def rows_together(channels: int) -> int:
    """Return how many pixels make a long row."""
    return norm_code.TILE // math.gcd(channels, norm_code.TILE)


class _Plan:
    """How tensors of one shape and type in channels-last memory are cut into long rows and blocks, and the kernels."""

    def __init__(self, images: int, channels: int, height: int, width: int, half: bool, act: str):
        together, count = rows_together(channels), images * height * width
        rows, self.length = count // together, together * channels
        per_block = max(1, _BLOCK // self.length)
        self.blocks = -(-rows // per_block)
        self._start = (0, self.blocks, rows, self.length, per_block, channels, together, count)
        # Long rows, then the deviations of the channels as float64.
        self.table_size = norm_code.TABLE_ROWS * self.length + 2 * channels
        self.begin, self.statistics = _kernel("begin", half), _kernel("statistics", half)
        self.finish_statistics, self.normalise = (
            _kernel("finish_statistics", half),
            _kernel("normalise", half, act),
        )
        self.gradient_sums = _kernel("gradient_sums", half, act)
        self.finish_gradients = _kernel("finish_gradients", half)
        self.input_gradient = _kernel("input_gradient", half, act)

    def args(
        self, x: Tensor, gradient: Tensor | None, result: Tensor, table: Tensor, *rest: int
    ) -> list[int]:
        """Return the arguments of the kernels but for the sums, by ``norm_code.ARGUMENTS``."""
        given = 0 if gradient is None else gradient.data_ptr()
        return [*self._start, x.data_ptr(), given, result.data_ptr(), table.data_ptr(), 0, 0, *rest]

    def sum_up(self, sums: Any, finish: Any, args: list[int]) -> None:
        """Take sums over the blocks in parallel, then finish them."""
        places = torch.empty(2 * self.blocks * self.length)
        totals = torch.empty(2 * self.length, dtype=torch.float64)
        args[12:14] = places.data_ptr(), totals.data_ptr()
        run_parallel(sums.address, args)
        run(finish.address, args)


@lru_cache(maxsize=None)
def _kernel(name: str, *options: Any) -> Any:
    return getattr(norm_code, name)(*options)


# Networks have dozens of shapes; photos of any size could bring more.
_plan = lru_cache(maxsize=4096)(_Plan)


@lru_cache(maxsize=64)
def _bits(value: float) -> int:
    return int(struct.unpack("q", struct.pack("d", value))[0])


def fixed_norm_act(
    x: Tensor, weight: Tensor, bias: Tensor, mean: Tensor, var: Tensor, eps: float, act: str
) -> Tensor:
    """Return the batch norm of a tensor with given statistics, then an activation; without gradients.

    Arguments and result are those of ``NormAct``.
    """
    plan = _plan(*x.shape, x.dtype == torch.bfloat16, act)
    scale = weight * (var + eps).rsqrt()
    together = rows_together(x.shape[1])
    table = torch.cat([scale.repeat(together), (bias - mean * scale).repeat(together)])
    result = torch.empty_like(x)
    run_parallel(plan.normalise.address, plan.args(x, None, result, table, 0, 0, 0, 0, 0, 0))
    return result


class NormAct(torch.autograd.Function):
    """Batch norm over a tensor in channels-last memory with the batch's statistics, then an activation.

    The arguments of ``apply`` are a (B, C, h, w) float32 or bfloat16 tensor, the (C,) float32 weight, bias, running
    mean and running variance, which are updated in place, the momentum, epsilon, and a name of ``norm_code.ACTS``.
    The result has the type and layout of the input. B * h * w is a multiple of ``rows_together(C)``, at least 2.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        running_mean: Tensor,
        running_var: Tensor,
        momentum: float,
        eps: float,
        act: str,
    ) -> Tensor:
        plan = _plan(*x.shape, x.dtype == torch.bfloat16, act)
        result, table = torch.empty_like(x), torch.empty(plan.table_size)
        channels = [tensor.data_ptr() for tensor in (weight, bias, running_mean, running_var)]
        args = plan.args(x, None, result, table, *channels, _bits(momentum), _bits(eps))
        run(plan.begin.address, args)
        plan.sum_up(plan.statistics, plan.finish_statistics, args)
        run_parallel(plan.normalise.address, args)
        ctx.save_for_backward(x)
        ctx.plan, ctx.table = plan, table
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        gradient = gradients[0].to(x.dtype).contiguous(memory_format=torch.channels_last)
        result, of_weight, of_bias = torch.empty_like(x), torch.empty(x.shape[1]), torch.empty(x.shape[1])
        places = (of_weight.data_ptr(), of_bias.data_ptr(), 0, 0, 0, 0)
        args = ctx.plan.args(x, gradient, result, ctx.table, *places)
        ctx.plan.sum_up(ctx.plan.gradient_sums, ctx.plan.finish_gradients, args)
        run_parallel(ctx.plan.input_gradient.address, args)
        return result, of_weight, of_bias, None, None, None, None, None
