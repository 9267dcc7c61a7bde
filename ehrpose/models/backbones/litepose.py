"""LitePose's backbone: one branch of inverted residual blocks with 7x7 kernels.

Source: Wang et al., Lite Pose, arXiv:2205.01271.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.layers import InvertedResidual, checkpointed, conv_bn_act, init_convs
from ehrpose.registry import MODELS

_FIRST_CHANNELS = 32
_STRIDES = (2, 2, 2, 1)


@MODELS.register_module()
class LitePose(BaseModule):
    """LitePose without head; returns five maps, for ``FusionDeconvHead``.

    Args:
        stem_channels: Channels of the first map, at stride 2.
        channels: Channels of the four stages, at strides 4, 8, 16 and 16.
        num_blocks: Blocks of the four stages.
        kernel_size: Side of the depthwise kernels.
        expansion: Factor of the blocks' 1x1 expansion.
        with_cp: Gradient checkpointing of the blocks.
        init_cfg: MMEngine's initialisation.

    Attributes:
        out_channels: Channels of the five maps.
        out_strides: Their strides, (2, 4, 8, 16, 16).

    Raises:
        ValueError: ``channels`` or ``num_blocks`` does not have four entries.
    """

    def __init__(
        self,
        stem_channels: int = 16,
        channels: Sequence[int] = (16, 32, 48, 80),
        num_blocks: Sequence[int] = (6, 8, 10, 10),
        kernel_size: int = 7,
        expansion: int = 6,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if len(channels) != 4 or len(num_blocks) != 4:
            raise ValueError(
                f"expected four channels and num_blocks, got {tuple(channels)} and {tuple(num_blocks)}"
            )
        self.with_cp = with_cp
        self.first = nn.Sequential(
            conv_bn_act(3, _FIRST_CHANNELS, 3, stride=2, act=nn.ReLU6),
            conv_bn_act(_FIRST_CHANNELS, _FIRST_CHANNELS, 3, groups=_FIRST_CHANNELS, act=nn.ReLU6),
            conv_bn_act(_FIRST_CHANNELS, stem_channels, 1, act=None),
        )
        self.stages = nn.ModuleList()
        before, total_stride, strides = stem_channels, 2, [2]
        for width, blocks, stride in zip(channels, num_blocks, _STRIDES):
            stage = nn.Sequential()
            for n in range(blocks):
                block_stride = stride if n == 0 else 1
                stage.append(InvertedResidual(before, width, block_stride, expansion, kernel_size))
                before = width
            self.stages.append(stage)
            total_stride *= stride
            strides.append(total_stride)
        self.out_channels, self.out_strides = (stem_channels, *channels), tuple(strides)
        init_convs(self, None)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps (B, C_i, H/s_i, W/s_i) of a (B, 3, H, W) normalised image, finest first."""
        maps = [self.first(x)]
        for stage in self.stages:
            x = maps[-1]
            for block in stage:
                x = checkpointed(block, x, self.with_cp and self.training)
            maps.append(x)
        return tuple(maps)
