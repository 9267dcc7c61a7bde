"""Left/right loss: at a keypoint, its own heatmap must be above its mirror keypoint's.

Axes: B images, P people slots, K keypoint types, S keypoint types that have a mirror type.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.registry import MODELS


@MODELS.register_module()
class SideLoss(nn.Module):
    """Logistic loss of the difference between a keypoint's heatmap and its mirror keypoint's, in float32.

    With the squared error alone, left and right are learnt late: while the two heatmaps are alike, the gradient of the
    features that tell them apart is almost 0 (see ``ehrpose.models.weights.mirror_pairs``). Here it is largest then.

    With d the mean of own minus mirrored heatmap over the pixels around a keypoint, its loss is
    ``softplus(-scale * d)``. The loss is the weighted mean over the batch's keypoints, with the weights
    ``1 - exp(-r**2 / (2 * apart**2))``; r is the distance to the nearest mirror keypoint of any person in the targets,
    map pixels. Where both lie together, both heatmaps must be high.

    Args:
        weight: Weight of the loss.
        scale: Steepness; heatmaps are 0 to 1, so with 5 there is little to gain from a difference above 0.5.
        radius: Pixels around a keypoint that count, 0 or more.
        apart: Length scale of the weights, map pixels.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, weight: float = 1e-2, scale: float = 5.0, radius: int = 1, apart: float = 3.0):
        super().__init__()
        if not (0 <= weight < math.inf and 0 < scale < math.inf and 0 < apart < math.inf):
            raise ValueError(
                f"weight must not be negative, scale and apart must be positive; got {weight}, {scale}, {apart}"
            )
        if not isinstance(radius, int) or radius < 0:
            raise ValueError(f"radius must be a whole number of pixels, 0 or more, got {radius}")
        self.weight = weight
        self.scale = scale
        self.radius = radius
        self.apart = apart

    def forward(self, heatmaps: Tensor, index: Tensor, flip_indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return the loss, and the share of keypoints whose own heatmap is the higher one, counted as in the loss.

        Both are 0 without keypoints.

        Args:
            heatmaps: (B, K, h, w).
            index: (B, P, K) int64, flat pixel of each keypoint, -1 where there is none.
            flip_indices: The mirror type of each of the K types, or the type itself if it has none.
        """
        paired = [k for k, mirror in enumerate(flip_indices) if mirror != k]
        mirrored = [flip_indices[k] for k in paired]
        heatmaps = heatmaps.float()
        if not paired:
            return 0 * heatmaps.sum(), heatmaps.new_zeros(())
        own_index, mirror_index = index[:, :, paired], index[:, :, mirrored]  # (B, P, S)
        flip = list(flip_indices)
        own = self._around(heatmaps, index)
        # Each map where its mirror type lies, put in the order of that type.
        other = self._around(heatmaps, index[:, :, flip])[:, :, flip]
        found = (own - other)[:, :, paired]  # (B, P, S)
        share = self._share(own_index, mirror_index, heatmaps.shape[3]) * (own_index >= 0)
        total = share.sum().clamp(min=1e-6)
        loss = (F.softplus(-self.scale * found) * share).sum() / total
        with torch.no_grad():
            right = ((found > 0) * share).sum() / total
        return self.weight * loss, right

    def _around(self, heatmaps: Tensor, index: Tensor) -> Tensor:
        """Return the (B, P, K) means of each map over the pixels around ``index`` that lie in the map."""
        height, width = heatmaps.shape[2:]
        offsets = torch.arange(-self.radius, self.radius + 1, device=index.device)
        y = (index // width)[..., None, None] + offsets[:, None]
        x = (index % width)[..., None, None] + offsets
        inside = ((y >= 0) & (y < height) & (x >= 0) & (x < width)).flatten(3)  # (B, P, K, R)
        at = torch.where(inside, (y * width + x).flatten(3), 0).transpose(1, 2)  # (B, K, P, R)
        found = heatmaps.flatten(2).gather(2, at.flatten(2)).view(at.shape).transpose(1, 2)
        return (found * inside).sum(dim=3) / inside.sum(dim=3).clamp(min=1)

    def _share(self, own: Tensor, mirror: Tensor, width: int) -> Tensor:
        """Return the (B, P, S) weight of each keypoint, by its distance to the mirror keypoints of all people."""
        dx = (own % width)[:, :, None] - (mirror % width)[:, None]  # (B, P, P, S)
        dy = (own // width)[:, :, None] - (mirror // width)[:, None]
        square = (dx**2 + dy**2).float().masked_fill((mirror < 0)[:, None], float("inf"))
        return 1 - torch.exp(-square.amin(dim=2) / (2 * self.apart**2))
