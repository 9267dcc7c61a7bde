"""A plain segmentation head over the neck: the joint scaling is not for poses alone."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.heads.ae_head import check_one_map
from ehrpose.models.layers import init_convs
from ehrpose.registry import MODELS


@MODELS.register_module()
class SegmentationHead(BaseModule):
    """3x3 convolution, batch norm, ReLU and a 1x1 convolution: a class for each pixel of the neck's map.

    In ``BottomUpEstimator`` it trains on ``targets["mask"]`` of ``EncodeMasks``; there is no decoding.

    Args:
        in_channels: Channels of the neck's map.
        num_classes: Number of classes, background included.
        loss: Config of the loss; ``ClassLoss`` by default.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: The neck gives several maps.
    """

    codec = None

    def __init__(
        self,
        in_channels: int,
        num_classes: int = 2,
        loss: Mapping | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        check_one_map(in_channels)
        self.block = nn.Sequential(
            nn.Conv2d(in_channels, in_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
        )
        self.output = nn.Conv2d(in_channels, num_classes, 1)
        self.mask_loss = MODELS.build(loss or {"type": "ClassLoss"})
        init_convs(self, None)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, num_classes, h, w) logits."""
        return self.output(self.block(features))

    def loss(self, logits: Tensor, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss against ``targets["mask"]``, (B, h, w) int64."""
        return {"loss_mask": self.mask_loss(logits, targets["mask"])}
