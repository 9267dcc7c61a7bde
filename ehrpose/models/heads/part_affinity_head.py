"""Head of networks with part-affinity fields: a first stage, and stages that refine its maps.

Source: Osokin, Lightweight OpenPose, arXiv:1811.12004. Axes: B images, P parts, L limbs, C channels of the features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.layers import init_convs
from ehrpose.registry import MODELS, build_codec
from ehrpose.structures import FieldMaps

_HIDDEN = 4  # width of the first stage's outputs, in C
_REFINEMENT_BLOCKS = 5


def _conv(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
    return nn.Sequential(conv, nn.ReLU())


class _Outputs(nn.Module):
    """The two maps of a stage, each after a hidden 1x1 convolution."""

    def __init__(self, in_channels: int, hidden: int, num_heat: int, num_field: int):
        super().__init__()
        self.heat = nn.Sequential(*_conv(in_channels, hidden, 1), nn.Conv2d(hidden, num_heat, 1))
        self.field = nn.Sequential(*_conv(in_channels, hidden, 1), nn.Conv2d(hidden, num_field, 1))

    def forward(self, x: Tensor) -> FieldMaps:
        return FieldMaps(self.heat(x), self.field(x))


class _RefinementBlock(nn.Module):
    """A 1x1 convolution, and the sum of its output and of two 3x3 convolutions of it, the second dilated."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.initial = _conv(in_channels, channels, 1)
        layers: list[nn.Module] = []
        for dilation in (1, 2):
            layers += [
                nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
        self.trunk = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        x = self.initial(x)
        return x + self.trunk(x)


class _Stage(nn.Module):
    def __init__(self, trunk: nn.Module, outputs: _Outputs):
        super().__init__()
        self.trunk, self.outputs = trunk, outputs

    def forward(self, x: Tensor) -> FieldMaps:
        maps: FieldMaps = self.outputs(self.trunk(x))
        return maps


@MODELS.register_module()
class PartAffinityHead(BaseModule):
    """Heatmaps of parts and background, and fields along limbs, at the stride of the features.

    Args:
        in_channels: C, channels of the features.
        codec: The codec, ``PartAffinity``, or its config.
        num_refinements: Stages after the first; each sees the features and the maps of the stage before.
        loss: Config of the loss of heatmaps and fields, of which that of all stages is the sum.
        init_std: Standard deviation of the convolutions' initial weights; None: Kaiming initialisation.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: ``in_channels`` is not the width of one map, ``num_refinements`` is negative, or the codec has no
            parts.
    """

    def __init__(
        self,
        in_channels: int,
        codec: Any,
        num_refinements: int = 1,
        loss: Mapping | None = None,
        init_std: float | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if not isinstance(in_channels, int) or num_refinements < 0:
            raise ValueError(
                f"expected one map and num_refinements of at least 0, got maps of {in_channels} channels and "
                f"{num_refinements}"
            )
        self.codec = build_codec(codec)
        if not hasattr(self.codec, "num_parts"):
            raise ValueError(
                f"PartAffinityHead needs the codec PartAffinity, got {type(self.codec).__name__}: set codec.type"
            )
        self.map_loss = MODELS.build(loss or {"type": "HeatmapLoss"})
        num_heat, num_field = self.codec.num_parts + 1, 2 * self.codec.num_limbs
        self.initial_stage = _Stage(
            nn.Sequential(*(_conv(in_channels, in_channels) for _ in range(3))),
            _Outputs(in_channels, _HIDDEN * in_channels, num_heat, num_field),
        )
        self.refinement_stages = nn.ModuleList()
        for _ in range(num_refinements):
            widths = [in_channels + num_heat + num_field] + [in_channels] * (_REFINEMENT_BLOCKS - 1)
            self.refinement_stages.append(
                _Stage(
                    nn.Sequential(*(_RefinementBlock(width, in_channels) for width in widths)),
                    _Outputs(in_channels, in_channels, num_heat, num_field),
                )
            )
        init_convs(self, init_std)

    def forward(self, features: Tensor) -> FieldMaps:
        """Return the maps of the last stage for (B, C, h, w) features."""
        return self.training_maps(features)[-1]

    def training_maps(self, features: Tensor) -> list[FieldMaps]:
        """Return the maps of all stages."""
        stages: list[FieldMaps] = [self.initial_stage(features)]
        for stage in self.refinement_stages:
            stages.append(stage(torch.cat([features, *stages[-1]], dim=1)))
        return stages

    def loss(self, maps: Sequence[FieldMaps], targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss_heat_s`` and ``loss_field_s`` of each stage s.

        Args:
            maps: Output of ``training_maps``.
            targets: Batched output of the codec's ``encode``.
        """
        losses = {}
        for number, stage in enumerate(maps):
            for name, field in zip(stage._fields, stage):
                losses[f"loss_{name}_{number}"] = self.map_loss(field, targets[name], targets["mask"])
        return losses
