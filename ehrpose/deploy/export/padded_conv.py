"""Convolutions whose padding differs from side to side, as one node of the exported graph."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ehrpose.models.layers import SplitPadConv2d


class _SplitPadConv(torch.autograd.Function):
    """An asymmetrically padded convolution as one ONNX node; torch would write a Pad of computed size."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, padding: Any, stride: Any, groups: int
    ) -> Tensor:
        """Convolve ``x`` padded by (left, right, top, bottom)."""
        return nn.functional.conv2d(nn.functional.pad(x, padding), weight, bias, stride, 0, 1, groups)

    @staticmethod
    def symbolic(g: Any, x: Any, weight: Any, bias: Any, padding: Any, stride: Any, groups: int) -> Any:
        """Write the ONNX node."""
        left, right, top, bottom = padding
        return g.op(
            "Conv", x, weight, bias, kernel_shape_i=weight.type().sizes()[2:], strides_i=stride,
            pads_i=[top, left, bottom, right], group_i=groups,
        )  # fmt: skip


class PaddedConv(nn.Module):
    """A convolution padded by (left, right, top, bottom) px."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        padding: tuple[int, int, int, int],
        stride: tuple[int, int] = (1, 1),
        groups: int = 1,
    ):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)
        self.arguments = (padding, stride, groups)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = _SplitPadConv.apply(x, self.weight, self.bias, *self.arguments)
        return result


def write_padding_into_convs(network: nn.Module) -> None:
    """Replace, in place, the convolutions that pad their input in a step of its own."""
    for parent in list(network.modules()):
        for name, conv in list(parent.named_children()):
            if isinstance(conv, SplitPadConv2d) and conv.split_padding is not None:
                bias = torch.zeros(conv.out_channels) if conv.bias is None else conv.bias
                stride = (conv.stride[0], conv.stride[1])
                setattr(parent, name, PaddedConv(conv.weight, bias, conv.split_padding, stride, conv.groups))
