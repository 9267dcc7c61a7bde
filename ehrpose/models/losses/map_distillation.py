"""Squared error of a prediction of another network's maps.

Source: FitNets, arXiv:1412.6550.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.registry import MODELS


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
