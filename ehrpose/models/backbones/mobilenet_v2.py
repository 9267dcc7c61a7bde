"""MobileNetV2 without classifier.

Source: arXiv:1801.04381, Table 2.
"""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.layers import InvertedResidual, checkpointed, conv_bn_act, init_convs
from ehrpose.registry import MODELS

# (expansion t, channels c, repeats n, stride s of the first block)
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_CHANNELS = 32
_LAST_CHANNELS = 1280


@MODELS.register_module()
class MobileNetV2(BaseModule):
    """MobileNetV2 of width 1.0 with its last 1x1 convolution; returns the last map.

    Args:
        with_cp: Gradient checkpointing of the blocks.
        init_cfg: MMEngine's initialisation.

    Attributes:
        out_channels: Channels of the returned map, (1280,).
        out_strides: Its stride, (32,).
    """

    def __init__(self, with_cp: bool = False, init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.with_cp = with_cp
        self.stem = conv_bn_act(3, _STEM_CHANNELS, 3, stride=2, act=nn.ReLU6)
        self.stages = nn.ModuleList()
        channels = _STEM_CHANNELS
        for expansion, out_channels, repeats, stride in _STAGES:
            blocks = nn.Sequential()
            for n in range(repeats):
                blocks.append(InvertedResidual(channels, out_channels, stride if n == 0 else 1, expansion))
                channels = out_channels
            self.stages.append(blocks)
        self.last = conv_bn_act(channels, _LAST_CHANNELS, 1, act=nn.ReLU6)
        self.out_channels, self.out_strides = (_LAST_CHANNELS,), (32,)
        init_convs(self, None)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the (B, 1280, H/32, W/32) map of a (B, 3, H, W) normalised image."""
        x = self.stem(x)
        for stage in self.stages:
            for block in stage:
                x = checkpointed(block, x, self.with_cp and self.training)
        return (self.last(x),)
