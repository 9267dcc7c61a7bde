"""Mean squared error of heatmaps.

Source: EfficientHRNet, arXiv:2007.08090, equation 3 (summed over levels by the head).
"""

from __future__ import annotations

from torch import Tensor, nn

from ehrpose.registry import MODELS


@MODELS.register_module()
class HeatmapLoss(nn.Module):
    """Squared error, masked, averaged over images, keypoint types and pixels, in float32.

    Args:
        weight: Factor of the loss.
    """

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def forward(self, predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            predicted: (B, K, h, w) heatmaps.
            target: (B, K, h, w) heatmaps, 0 to 1.
            mask: (B, h, w), 0 where the loss is off; pixels that are off count in the mean.
        """
        error = (predicted.float() - target.float()) ** 2
        return self.weight * (error * mask[:, None].float()).mean()
