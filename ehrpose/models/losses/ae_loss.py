"""Associative-embedding loss: tags of one person agree, tags of two people differ.

Source: Newell et al., arXiv:1611.05424, section 3.2, with the exponential push.
Axes: B images, P people slots, K keypoint types, T tag length.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ehrpose.registry import MODELS


@MODELS.register_module()
class AELoss(nn.Module):
    """Pull and push of tags, computed in float32 at any training precision.

    With t the tags of a person's keypoints and m their mean: pull is the mean over people of the mean of
    ``|t - m|**2``; push is ``0.5 / (N (N - 1))`` times the sum over pairs i != j of ``exp(-|m_i - m_j|**2)``,
    0 for fewer than two people. Both are averaged over the batch. People without a keypoint add nothing.

    A push that stays at 0.5 times the share of images with two or more people means that all tags are equal.

    Args:
        pull: Weight of pull.
        push: Weight of push.
        radius: Tags up to this many pixels from a keypoint count like its own. 0, as in the paper, leaves the
            neighbours unconstrained, but decoding reads them when a peak is a pixel off; with little training data
            they are arbitrary.
    """

    def __init__(self, pull: float = 1e-3, push: float = 1e-3, radius: int = 0):
        super().__init__()
        if radius < 0:
            raise ValueError(f"radius must be 0 or more pixels, got {radius}")
        self.pull = pull
        self.push = push
        self.radius = radius

    def forward(self, tags: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return pull and push, scalars.

        Args:
            tags: (B, T*K, h, w) tag maps, channel ``t * K + k``.
            index: (B, P, K) int64, flat pixel of each keypoint, -1 where there is none.
        """
        batch, num_people, num_types = index.shape
        if self.radius:
            index = self._with_neighbours(index, tags.shape[2], tags.shape[3])
        # (B, T, K, h*w): every keypoint type reads its own map.
        maps = tags.float().reshape(batch, -1, num_types, tags.shape[2] * tags.shape[3])
        # Each type has R pixels: the keypoint's own and, with a radius, its neighbours.
        at = index.reshape(batch, num_people, num_types, -1).clamp(min=0).permute(0, 2, 1, 3)
        at = at.reshape(batch, 1, num_types, -1).expand(-1, maps.shape[1], -1, -1)
        found = maps.gather(3, at).reshape(batch, maps.shape[1], num_types, num_people, -1)
        found = found.permute(0, 3, 2, 4, 1).reshape(batch, num_people, index.shape[2], -1)  # (B, P, K*R, T)
        valid = (index >= 0).float()
        count = valid.sum(dim=2)  # (B, P)
        is_person = (count > 0).float()
        mean = (found * valid[..., None]).sum(dim=2) / count.clamp(min=1)[..., None]  # (B, P, T)
        spread = ((found - mean[:, :, None]) ** 2).sum(dim=3) * valid
        people = is_person.sum(dim=1)  # (B,)
        pull = (spread.sum(dim=2) / count.clamp(min=1)).sum(dim=1) / people.clamp(min=1)
        distance = ((mean[:, :, None] - mean[:, None]) ** 2).sum(dim=3)  # (B, P, P)
        pairs = is_person[:, :, None] * is_person[:, None]
        pairs = pairs * (1 - torch.eye(num_people, device=pairs.device))
        push = 0.5 * (torch.exp(-distance) * pairs).sum(dim=(1, 2)) / (people * (people - 1)).clamp(min=1)
        return self.pull * pull.mean(), self.push * push.mean()

    def _with_neighbours(self, index: Tensor, height: int, width: int) -> Tensor:
        """Return (B, P, K*R) flat pixels around those of (B, P, K), -1 beyond the border."""
        offsets = torch.arange(-self.radius, self.radius + 1, device=index.device)
        y = (index // width)[..., None, None] + offsets[:, None]
        x = (index % width)[..., None, None] + offsets
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width) & (index >= 0)[..., None, None]
        return torch.where(inside, y * width + x, -1).flatten(2)
