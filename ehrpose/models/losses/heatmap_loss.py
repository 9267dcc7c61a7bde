"""Mean squared error of heatmaps.

Source: EfficientHRNet, arXiv:2007.08090, equation 3 (summed over levels by the head).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
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
        error = (predicted.float() - target) ** 2
        if self.positive_weight > 0:
            error = error * (1 + self.positive_weight * target)
        return self.weight * (error * mask[:, None].float()).mean()


@MODELS.register_module()
class MapDistillationLoss(nn.Module):
    """Squared error of a student's prediction of a teacher's maps, each channel normalised over the batch, in float32.

    Args:
        weight: Weight of the loss. 1 is the error of predicting nothing but the mean.
    """

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def forward(self, student: Tensor, teacher: Sequence[Tensor]) -> Tensor:
        """Return the loss, a scalar.

        Args:
            student: (B, C, h, w), with the channels of all maps of the teacher.
            teacher: Maps (B, C_i, h_i, w_i); those of another size are resized to the student's.
        """
        size = student.shape[-2:]
        wanted = torch.cat([_resized(maps.float(), size) for maps in teacher], dim=1)
        spread, mean = torch.std_mean(wanted, dim=(0, 2, 3), keepdim=True)
        return self.weight * (student.float() - (wanted - mean) / spread.clamp(min=1e-6)).square().mean()


def _resized(maps: Tensor, size: torch.Size) -> Tensor:
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)
