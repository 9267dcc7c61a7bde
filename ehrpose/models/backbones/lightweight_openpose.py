"""Lightweight OpenPose's backbone: a MobileNet with dilation, and the features that all stages of the head share.

Source: Osokin, Lightweight OpenPose, arXiv:1811.12004.
"""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.layers import checkpointed, init_convs
from ehrpose.registry import MODELS

_STEM_CHANNELS = 32
# Channels, stride and dilation of the depthwise separable blocks.
_BLOCKS = (
    (64, 1, 1), (128, 2, 1), (128, 1, 1), (256, 2, 1), (256, 1, 1), (512, 1, 1), (512, 1, 2),
    (512, 1, 1), (512, 1, 1), (512, 1, 1), (512, 1, 1),
)  # fmt: skip


@MODELS.register_module()
class LightweightOpenPose(BaseModule):
    """MobileNet up to stride 8, narrowed to the features that the head's stages read.

    Args:
        channels: Channels of the features.
        width: Factor of the MobileNet's channels.
        with_cp: Gradient checkpointing of the blocks.
        init_cfg: MMEngine's initialisation.

    Attributes:
        out_channels: Channels of the returned map, as a tuple of one.
        out_strides: Its stride, (8,).
        side_multiple: The input's sides are multiples of it, px.

    Raises:
        ValueError: ``channels`` or ``width`` is not positive.
    """

    side_multiple = 8

    def __init__(
        self, channels: int = 128, width: float = 1.0, with_cp: bool = False, init_cfg: dict | None = None
    ):
        super().__init__(init_cfg)
        if channels < 1 or width <= 0:
            raise ValueError(f"expected positive channels and width, got {channels} and {width}")
        self.with_cp = with_cp
        self.out_channels, self.out_strides = (channels,), (8,)
        before = max(1, round(_STEM_CHANNELS * width))
        self.stem = nn.Sequential(
            nn.Conv2d(3, before, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(before), nn.ReLU()
        )
        self.blocks = nn.ModuleList()
        for full, stride, dilation in _BLOCKS:
            after = max(1, round(full * width))
            self.blocks.append(_separable(before, after, stride, dilation))
            before = after
        self.align = nn.Sequential(nn.Conv2d(before, channels, 1), nn.ReLU())
        self.context = nn.Sequential(*(_separable_elu(channels) for _ in range(3)))
        self.output = nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.ReLU())
        init_convs(self, None)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the (B, channels, H/8, W/8) map of a (B, 3, H, W) normalised image, H and W multiples of 8."""
        x = self.stem(x)
        for block in self.blocks:
            x = checkpointed(block, x, self.with_cp and self.training)
        x = self.align(x)
        return (self.output(x + self.context(x)),)


def _separable(in_channels: int, out_channels: int, stride: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, dilation, dilation, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def _separable_elu(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.ELU(),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.ELU(),
    )
