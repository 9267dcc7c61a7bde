"""Classification head of EfficientNet, for pre-training the backbone.

Source: arXiv:1905.11946.
"""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.layers import ConvBNAct
from ehrpose.registry import MODELS


@MODELS.register_module()
class ClassificationHead(BaseModule):
    """1x1 convolution, global mean, dropout, linear classifier.

    Args:
        in_channels: Channels of the backbone's last map.
        num_classes: Number of classes, at least 1.
        hidden_channels: Width of the 1x1 convolution; EfficientNet's ``head_channels``.
        lite: Use ReLU6 and the batch-norm epsilon of EfficientNet-Lite.
        dropout: Dropout probability before the classifier.
        loss: Config of the loss; ``ClassLoss`` by default.
        init_cfg: MMEngine's initialisation.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        hidden_channels: int = 1280,
        lite: bool = False,
        dropout: float = 0.2,
        loss: Mapping | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        act, eps = (nn.ReLU6, 1e-3) if lite else (nn.SiLU, 1e-5)
        self.num_classes = num_classes
        self.conv = ConvBNAct(in_channels, hidden_channels, 1, act=act, bn_eps=eps)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(hidden_channels, num_classes)
        self.class_loss = MODELS.build(loss or {"type": "ClassLoss"})

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, num_classes) logits for (B, in_channels, h, w) features."""
        return self.classifier(self.dropout(self.conv(features).mean(dim=(2, 3))))

    def loss(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the loss against (B,) int64 ``labels``, or (B, num_classes) shares of the classes."""
        return {"loss_class": self.class_loss(self(features), labels)}
