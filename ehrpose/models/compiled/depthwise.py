"""Depthwise convolution as an autograd function over compiled kernels."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ehrpose.models.compiled import depthwise_code
from ehrpose.models.compiled.depthwise_code import Window
from ehrpose.models.compiled.threads import run_parallel
from ehrpose.models.compiled.vector_code import LANES


@lru_cache(maxsize=None)
def _kernel(name: str, half: bool, window: Window) -> Any:
    return getattr(depthwise_code, name)(half, window)


class Depthwise(torch.autograd.Function):
    """Depthwise convolution of a tensor in channels-last memory.

    The arguments of ``apply`` are a (B, C, h, w) float32 or bfloat16 tensor, C divisible by 16, (C, 1, k, k) float32
    weights, the stride, and the zeros before and after the input. The result has the type and layout of the input.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, before: int, after: int) -> Tensor:
        kernel = weight.shape[2]
        window = Window(kernel, stride, before)
        height, width = ((side + before + after - kernel) // stride + 1 for side in x.shape[2:])
        result = torch.empty((*x.shape[:2], height, width), dtype=x.dtype, memory_format=torch.channels_last)
        weights = weight.flatten(1).t().contiguous()
        _run("forward", window, after, x, None, result, weights)
        ctx.save_for_backward(x)
        ctx.window, ctx.after, ctx.weights, ctx.shape = window, after, weights, weight.shape
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        gradient = gradients[0].to(x.dtype).contiguous(memory_format=torch.channels_last)
        result = torch.empty_like(x)
        parts = _run("backward", ctx.window, ctx.after, x, gradient, result, ctx.weights)
        return result, parts.t().reshape(ctx.shape), None, None, None


def _run(
    name: str,
    window: Window,
    after: int,
    x: Tensor,
    gradient: Tensor | None,
    result: Tensor,
    weights: Tensor,
) -> Tensor:
    """Run a kernel; return the gradient of the weights, (kernel * kernel, C), if it has one."""
    (images, channels), size = x.shape[:2], x.shape[2:]
    out_size = (result if gradient is None else gradient).shape[2:]
    least, greatest = window.reach()
    # With its zeros, and for the last groups of results a little more than is read.
    padded = [side + window.before + after for side in size]
    out_padded = [
        max(out - least, -(-side // window.stride) + greatest - least) for out, side in zip(out_size, size)
    ]
    plane = (padded[0] * padded[1] + out_padded[0] * out_padded[1]) * LANES
    threads = torch.get_num_threads()
    planes = torch.empty(threads * plane)
    parts = torch.empty((0 if gradient is None else images, weights.shape[0], channels))
    groups = channels // LANES
    tensors = [0 if tensor is None else tensor.data_ptr() for tensor in (x, gradient, result)]
    args = [0, 0, images * groups, groups, channels, *size, *out_size, *tensors, weights.data_ptr()]
    args += [parts.data_ptr(), planes.data_ptr(), plane, *padded, *out_padded]
    run_parallel(_kernel(name, x.dtype == torch.bfloat16, window).address, args)
    return parts.sum(0)
