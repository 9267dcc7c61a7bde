"""Lightweight alternative to the high-resolution neck: one top-down pass.

Source: feature pyramid networks, arXiv:1612.03144.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.models.layers import BasicBlock, init_convs
from ehrpose.models.necks.high_resolution import check_taps
from ehrpose.registry import MODELS


@MODELS.register_module()
class TopDownNeck(BaseModule):
    """Add coarse maps to finer ones, coarsest first, and smooth the finest.

    Args:
        in_channels: Channels of the four maps, finest first.
        channels: Width of the pyramid and of the result.
        num_blocks: BasicBlocks on the finest map.
        in_strides: Strides of the four maps; must be 4, 8, 16, 32.
        init_std: Standard deviation of the convolutions' initial weights; None: Kaiming initialisation.
        init_cfg: MMEngine's initialisation.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int = 32,
        num_blocks: int = 2,
        in_strides: Sequence[int] = (4, 8, 16, 32),
        init_std: float | None = 0.001,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_taps(in_channels, in_strides)
        self.out_channels = channels
        self.lateral = nn.ModuleList(
            nn.Sequential(nn.Conv2d(c, channels, 1, bias=False), nn.BatchNorm2d(channels))
            for c in in_channels
        )
        self.blocks = nn.Sequential(*(BasicBlock(channels) for _ in range(num_blocks)))
        init_convs(self, init_std)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """Fuse four maps (B, C_i, H/s_i, W/s_i) into (B, channels, H/4, W/4)."""
        total = self.lateral[-1](taps[-1])
        for lateral, tap in zip(reversed(self.lateral[:-1]), reversed(taps[:-1])):
            total = lateral(tap) + F.interpolate(total, scale_factor=2, mode="nearest")
        return self.blocks(F.relu(total))
