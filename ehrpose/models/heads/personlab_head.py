"""The head of PersonLab and PoseNet: heatmaps of keypoint discs and offsets, each from one 1x1 convolution.

Source: PersonLab, arXiv:1803.08225, sections 3 and 4. Axes: B images, K keypoint types, E edges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.registry import MODELS, build_codec
from ehrpose.structures import OffsetMaps

# The paper's weights of the losses: heatmap, short, mid and long offsets.
_WEIGHTS = (4.0, 1.0, 0.25, 0.125)


@MODELS.register_module()
class PersonLabHead(BaseModule):
    """Logits of heatmaps, short offsets, offsets along edges in both directions and, if the codec has them, long ones.

    Args:
        in_channels: Channels of the neck's map.
        codec: The codec, ``PersonLab``, or its config.
        loss_weights: Weights of the losses of heatmaps, short, mid (both directions together) and long offsets.
        init_std: Standard deviation of the convolutions' initial weights.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: The neck returns several maps, or ``loss_weights`` are not four numbers of at least 0.
    """

    def __init__(
        self,
        in_channels: int,
        codec: Any,
        loss_weights: Sequence[float] = _WEIGHTS,
        init_std: float = 0.001,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if not isinstance(in_channels, int):
            raise ValueError(f"the head expects one map, got maps of {tuple(in_channels)} channels")
        if len(loss_weights) != 4 or min(loss_weights) < 0:
            raise ValueError(f"loss_weights: expected four numbers of at least 0, got {loss_weights}")
        self.codec = build_codec(codec)
        self.loss_weights = tuple(float(weight) for weight in loss_weights)
        k, edges = self.codec.num_keypoints, self.codec.tree.num_edges
        self.heat = nn.Conv2d(in_channels, k, 1)
        self.short = nn.Conv2d(in_channels, 2 * k, 1)
        self.mid_forward = nn.Conv2d(in_channels, 2 * edges, 1)
        self.mid_backward = nn.Conv2d(in_channels, 2 * edges, 1)
        self.long = nn.Conv2d(in_channels, 2 * k, 1) if self.codec.with_long else None
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=init_std)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> OffsetMaps:
        """Return the maps of (B, in_channels, h, w) features."""
        return OffsetMaps(
            self.heat(features),
            self.short(features),
            self.mid_forward(features),
            self.mid_backward(features),
            None if self.long is None else self.long(features),
        )

    def loss(self, maps: OffsetMaps, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss_heat``, ``loss_short``, ``loss_mid`` and, with long offsets, ``loss_long``.

        Heatmaps: mean cross-entropy where ``mask`` is on. Offsets: mean distance (L1) where the targets say one, in
        radii of the discs.

        Args:
            maps: Output of ``forward``.
            targets: Batched output of the codec's ``encode``.
        """
        heat, short, mid, long = self.loss_weights
        mask = targets["mask"][:, None].expand_as(targets["heat"])
        entropy = F.binary_cross_entropy_with_logits(maps.heat.float(), targets["heat"], reduction="none")
        losses = {
            "loss_heat": heat * (entropy * mask).sum() / mask.sum().clamp(min=1),
            "loss_short": short * self._distance(maps.short, targets["short"]),
            "loss_mid": mid
            * (
                self._distance(maps.forward, targets["forward"])
                + self._distance(maps.backward, targets["backward"])
            ),
        }
        if self.long is not None:
            losses["loss_long"] = long * self._distance(maps.long, targets["long"])
        return losses

    def _distance(self, predicted: Tensor, target: Tensor) -> Tensor:
        """Return the mean distance where ``target`` is not NaN, in radii; 0, with a gradient, if it is nowhere."""
        known = torch.isfinite(target)
        difference = predicted.float() - torch.where(known, target, torch.zeros_like(target))
        return (difference.abs() * known).sum() / known.sum().clamp(min=1) / self.codec.radius
