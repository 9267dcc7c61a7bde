"""ResNet of bottleneck blocks, without classifier.

Source: arXiv:1512.03385, with the stride on the 3x3 convolution as in PyTorch's and mmpose's weights.
"""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.models.layers import Bottleneck, checkpointed, init_convs
from ehrpose.registry import MODELS

STAGE_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}


@MODELS.register_module()
class ResNet(BaseModule):
    """ResNet-50, -101 or -152; returns the last map.

    Args:
        depth: 50, 101 or 152.
        base_channels: Width of the stem and of the first stage's blocks; 64 in the published networks.
        with_cp: Gradient checkpointing of the blocks.
        init_cfg: MMEngine's initialisation.

    Attributes:
        out_channels: Channels of the returned map, as a tuple of one.
        out_strides: Its stride, (32,).

    Raises:
        ValueError: Another depth.
    """

    def __init__(
        self,
        depth: int = 50,
        base_channels: int = 64,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if depth not in STAGE_BLOCKS:
            raise ValueError(f"depth must be one of {', '.join(map(str, STAGE_BLOCKS))}, got {depth}")
        self.with_cp = with_cp
        self.conv1 = nn.Conv2d(3, base_channels, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        channels = base_channels
        for i, blocks in enumerate(STAGE_BLOCKS[depth]):
            width = base_channels * 2**i
            stage = nn.Sequential()
            for n in range(blocks):
                stage.append(Bottleneck(channels, width, stride=2 if i and n == 0 else 1))
                channels = width * Bottleneck.expansion
            setattr(self, f"layer{i + 1}", stage)
        self.out_channels, self.out_strides = (channels,), (32,)
        init_convs(self, None)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the (B, out_channels[0], H/32, W/32) map of a (B, 3, H, W) normalised image."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x = checkpointed(block, x, self.with_cp and self.training)
        return (x,)
