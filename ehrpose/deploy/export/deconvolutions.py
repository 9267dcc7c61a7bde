"""Transposed convolutions as plain ones, for engines that quantise only these."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ehrpose.deploy.export.padded_conv import PaddedConv

# Rows (columns) of the 4 x 4 kernel that an output pixel sees, by the parity of its row (column), top to bottom.
_TAPS = ([3, 1], [2, 0])


class _DepthToSpace(torch.autograd.Function):
    """Interleave four groups of channels as one ONNX node; torch's own would want them in another order."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Return (B, C, 2H, 2W) of (B, 4C, H, W), the group of each pixel given by the parities of row and column."""
        batch, channels, height, width = x.shape
        groups = x.reshape(batch, 2, 2, channels // 4, height, width)
        return groups.permute(0, 3, 4, 1, 5, 2).reshape(batch, channels // 4, 2 * height, 2 * width)

    @staticmethod
    def symbolic(g: Any, x: Any) -> Any:
        """Write the ONNX node."""
        return g.op("DepthToSpace", x, blocksize_i=2, mode_s="DCR")


class FourConvs(nn.Module):
    """What a transposed convolution of kernel 4, stride 2 and padding 1 computes, by four of kernel 2.

    Every fourth pixel of the result sees the same 2 x 2 of the 4 x 4 weights, so there are as many products.

    Args:
        deconv: The transposed convolution.
    """

    def __init__(self, deconv: nn.ConvTranspose2d):
        super().__init__()
        weight = deconv.weight.detach().permute(1, 0, 2, 3)
        bias = torch.zeros(deconv.out_channels) if deconv.bias is None else deconv.bias.detach()
        self.convs = nn.ModuleList(
            PaddedConv(weight[:, :, _TAPS[odd_y]][..., _TAPS[odd_x]].contiguous(), bias.clone(),
                       (1 - odd_x, odd_x, 1 - odd_y, odd_y))
            for odd_y in (0, 1) for odd_x in (0, 1)
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, 2H, 2W)."""
        result: Tensor = _DepthToSpace.apply(torch.cat([conv(x) for conv in self.convs], dim=1))
        return result


def replace_deconvolutions(network: nn.Module) -> None:
    """Replace, in place, the transposed convolutions that four plain ones can stand for."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.ConvTranspose2d) and _is_doubling(layer):
                setattr(parent, name, FourConvs(layer))


def _is_doubling(layer: nn.ConvTranspose2d) -> bool:
    form = (
        layer.kernel_size,
        layer.stride,
        layer.padding,
        layer.output_padding,
        layer.dilation,
        layer.groups,
    )
    return form == ((4, 4), (2, 2), (1, 1), (0, 0), (1, 1), 1)
