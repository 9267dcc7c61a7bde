"""MobileNetV1 without classifier, down to a chosen stride.

Source: arXiv:1704.04861, Table 1; as the backbone of PersonLab, arXiv:1803.08225, in PoseNet.
"""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.layers import checkpointed
from ehrpose.registry import MODELS

# (channels at width 1, stride) of the 13 depthwise separable blocks.
_BLOCKS = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1), (512, 1), (512, 1), (512, 1), (512, 1),
    (1024, 2), (1024, 1),
)  # fmt: skip
_STEM_CHANNELS = 32


class SeparableConv(nn.Sequential):
    """Depthwise 3x3 and 1x1 convolution, each with ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, with_norm: bool):
        super().__init__()
        self.depthwise = _conv(in_channels, in_channels, 3, stride, in_channels, with_norm)
        self.pointwise = _conv(in_channels, out_channels, 1, 1, 1, with_norm)


def _conv(
    in_channels: int, out_channels: int, kernel_size: int, stride: int, groups: int, with_norm: bool
) -> nn.Sequential:
    # Padded alike on both sides: TensorFlow's "same" padding for sides that are multiples of the stride, plus 1.
    layers = nn.Sequential()
    layers.conv = nn.Conv2d(
        in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=not with_norm
    )
    if with_norm:
        layers.bn = nn.BatchNorm2d(out_channels)
    layers.act = nn.ReLU6()
    return layers


@MODELS.register_module()
class MobileNetV1(BaseModule):
    """MobileNetV1; returns the last map.

    Pixel i of the returned map lies at pixel ``i * output_stride`` of inputs whose sides are multiples of
    ``output_stride``, plus 1.

    Args:
        width: Multiple of the channels.
        output_stride: 8, 16 or 32; later strides are 1.
        max_channels: Most channels of a block at width 1: 1024 in the paper, 512 in PoseNet's published files.
        with_norm: Batch norms. False: biases in their place, as in published files, which have them folded in.
        with_cp: Gradient checkpointing of the blocks.
        init_cfg: MMEngine's initialisation.

    Attributes:
        out_channels: Channels of the returned map, as a tuple of one.
        out_strides: Its stride.
        side_multiple: The input's sides are multiples of it, px, plus the codec's ``side_offset``.

    Raises:
        ValueError: ``width`` is not positive, or ``output_stride`` is another number.
    """

    def __init__(
        self,
        width: float = 1.0,
        output_stride: int = 16,
        max_channels: int = 1024,
        with_norm: bool = True,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if not width > 0 or output_stride not in (8, 16, 32):
            raise ValueError(
                f"expected a width above 0 and an output_stride of 8, 16 or 32, got {width} and {output_stride}"
            )
        self.with_cp = with_cp
        channels = _scaled(_STEM_CHANNELS, width)
        self.stem = _conv(3, channels, 3, 2, 1, with_norm)
        self.blocks = nn.ModuleList()
        reached = 2
        for of_block, stride in _BLOCKS:
            stride = stride if reached < output_stride else 1
            reached *= stride
            out_channels = _scaled(min(of_block, max_channels), width)
            self.blocks.append(SeparableConv(channels, out_channels, stride, with_norm))
            channels = out_channels
        self.out_channels, self.out_strides, self.side_multiple = (channels,), (reached,), reached
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the (B, out_channels[0], h, w) map of a (B, 3, H, W) normalised image."""
        x = self.stem(x)
        for block in self.blocks:
            x = checkpointed(block, x, self.with_cp and self.training)
        return (x,)


def _scaled(channels: int, width: float) -> int:
    return max(int(channels * width), 8)
