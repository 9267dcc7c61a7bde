"""Mean squared error of heatmaps.

Source: EfficientHRNet, arXiv:2007.08090, equation 3 (summed over levels by the head).
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.registry import MODELS


@MODELS.register_module()
class HeatmapLoss(nn.Module):
    """Squared error, masked, averaged over images, keypoint types and pixels, in float32.

    Args:
        weight: Weight of the loss.
        positive_weight: The error is weighted by ``1 + positive_weight * target``. 0 is the paper's plain error; above
            0, training from random weights escapes the empty map sooner.

    Raises:
        ValueError: ``positive_weight`` is negative.
    """

    def __init__(self, weight: float = 1.0, positive_weight: float = 0.0):
        super().__init__()
        if positive_weight < 0:
            raise ValueError(f"positive_weight must not be negative, got {positive_weight}")
        self.weight = weight
        self.positive_weight = positive_weight

    def forward(self, predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
        """Return the loss, a scalar.

        Args:
            predicted: (B, K, h, w) heatmaps.
            target: (B, K, h, w) heatmaps, 0 to 1.
            mask: (B, h, w), 0 where the loss is off; masked pixels still count in the mean.
        """
        target = target.float()
        # Most batches mask nothing: then fewer passes over the maps do. Elsewhere than on the CPU, to look would wait.
        if mask.device.type == "cpu" and self.positive_weight == 0 and bool(mask.all()):
            return self.weight * F.mse_loss(predicted.float(), target)
        error = (predicted.float() - target) ** 2
        if self.positive_weight > 0:
            error = error * (1 + self.positive_weight * target)
        return self.weight * (error * mask[:, None].float()).mean()
