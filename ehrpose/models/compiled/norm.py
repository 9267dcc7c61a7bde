"""Batch norm with the activation after it, as one autograd function over compiled kernels."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ehrpose.models.compiled import norm_code
from ehrpose.models.compiled.threads import run

# Elements of a block: its tensors stay in the second cache, and a step has many more blocks than threads.
_BLOCK = 32768


@lru_cache(maxsize=None)
def _kernel(name: str, *options: Any) -> Any:
    return getattr(norm_code, name)(*options)


class _Rows:
    """How a tensor in channels-last memory is cut into long rows and blocks."""

    def __init__(self, shape: torch.Size):
        self.count = shape[0] * shape[2] * shape[3]
        self.together = rows_together(shape[1])
        self.rows, self.length = self.count // self.together, self.together * shape[1]
        self.per_block = max(1, _BLOCK // self.length)
        self.blocks = -(-self.rows // self.per_block)

    def run(
        self,
        kernel: Any,
        table: list[np.ndarray],
        x: Tensor,
        gradient: Tensor | None = None,
        result: Tensor | None = None,
    ) -> np.ndarray:
        """Run a kernel; return its two sums per channel, float64, or nothing where it takes none."""
        columns = np.tile(np.stack(table).astype(np.float32), (1, self.together))
        sums = np.empty((0 if result is not None else self.blocks, 2, self.length), np.float32)
        tensors = [0 if tensor is None else tensor.data_ptr() for tensor in (x, gradient, result)]
        run(
            kernel.address,
            [
                0,
                self.blocks,
                self.rows,
                self.length,
                self.per_block,
                *tensors,
                columns.ctypes.data,
                sums.ctypes.data,
            ],
        )
        return sums.sum(0, dtype=np.float64).reshape(2, self.together, -1).sum(1)


def rows_together(channels: int) -> int:
    """Return how many pixels make a long row."""
    return norm_code.TILE // math.gcd(channels, norm_code.TILE)


class NormAct(torch.autograd.Function):
    """Batch norm over a tensor in channels-last memory with the batch's statistics, then an activation.

    The arguments of ``apply`` are a (B, C, h, w) float32 or bfloat16 tensor, the (C,) float32 weight and bias,
    epsilon, a name of ``norm_code.BOUNDS``, and a list that mean and variance (biased) are appended to, (C,) float64
    arrays. The result has the type and layout of the input.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, act: str, statistics: list[np.ndarray]
    ) -> Tensor:
        rows, half = _Rows(x.shape), x.dtype == torch.bfloat16
        # Sums of the distances to a value of the channel lose fewer digits than sums of squares.
        near = x[0, :, 0, 0].float().numpy()
        sums = rows.run(_kernel("statistics", half), [near], x)
        with np.errstate(invalid="ignore"):  # not finite: the loss will be, and NonFiniteLossHook says so
            offset = sums[0] / rows.count
            mean, variance = near + offset, np.maximum(sums[1] / rows.count - offset**2, 0)
        deviation = np.sqrt(variance + eps)
        scale = weight.numpy() / deviation
        shift = bias.numpy() - mean * scale
        result = torch.empty_like(x)
        rows.run(_kernel("normalise", half, act), [scale, shift], x, result=result)
        statistics += [mean, variance]
        ctx.save_for_backward(x)
        ctx.rows, ctx.act, ctx.of_channels = rows, act, (scale, shift, mean, deviation)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        rows, (scale, shift, mean, deviation) = ctx.rows, ctx.of_channels
        half = x.dtype == torch.bfloat16
        gradient = gradients[0].to(x.dtype).contiguous(memory_format=torch.channels_last)
        sums = rows.run(_kernel("gradient_sums", half, ctx.act), [scale, shift, mean], x, gradient)
        slope, constant = -scale * sums[1] / (rows.count * deviation**2), -scale * sums[0] / rows.count
        result = torch.empty_like(x)
        table = [scale, shift, mean, slope, constant]
        rows.run(_kernel("input_gradient", half, ctx.act), table, x, gradient, result)
        of_weight, of_bias = (torch.from_numpy(a.astype(np.float32)) for a in (sums[1] / deviation, sums[0]))
        return result, of_weight, of_bias, None, None, None
