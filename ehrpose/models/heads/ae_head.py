"""Heads that predict heatmaps and tags.

Source: EfficientHRNet, arXiv:2007.08090, section 3.1.3; HigherHRNet, arXiv:1908.10357.
Axes: B images, K keypoint types, T tag length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.models.layers import BasicBlock, GaussianSmoothing, init_convs, init_residuals
from ehrpose.registry import MODELS, build_codec
from ehrpose.structures import Maps

HeatmapLosses = Mapping | Sequence[Mapping] | None


class BaseAEHead(BaseModule):
    """Base of the heads: the codec's sizes and the losses."""

    def __init__(
        self,
        codec: Any,
        heatmap_loss: HeatmapLosses,
        tag_loss: Mapping | None,
        side_loss: Mapping | None,
        smooth_sigmas: Sequence[float] | None,
        init_cfg: dict | None,
    ):
        super().__init__(init_cfg)
        self.codec = build_codec(codec)
        self.num_keypoints = self.codec.num_keypoints
        self.num_tags = self.num_keypoints * self.codec.tag_dim
        self.heatmap_losses = self._build_heatmap_losses(heatmap_loss or {"type": "HeatmapLoss"})
        self.tag_loss = MODELS.build(tag_loss or {"type": "AELoss"})
        if side_loss is not None and "type" not in side_loss:
            raise ValueError(f"side_loss has no type: expected type='SideLoss', got {dict(side_loss)}")
        self.side_loss: Any = None if side_loss is None else MODELS.build(side_loss)
        self.smoothing = self._build_smoothing(smooth_sigmas)

    def loss(self, maps: Maps, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss_heat{s}`` of each level, ``loss_pull`` and ``loss_push``.

        With a side loss also ``loss_side``, and ``acc_side``, how often the finest map is right (only logged).

        Args:
            maps: Output of ``forward``.
            targets: Batched output of the codec's ``encode``.
        """
        losses = {
            f"loss_heat{s}": loss(getattr(maps, f"heat{s}"), targets[f"heat{s}"], targets[f"mask{s}"])
            for s, loss in zip(self.codec.strides, self.heatmap_losses)
        }
        terms = [
            self.tag_loss(getattr(maps, f"tag{s}"), targets[f"tag_index{s}"]) for s in self.codec.tag_strides
        ]
        losses["loss_pull"] = sum(pull for pull, _ in terms)
        losses["loss_push"] = sum(push for _, push in terms)
        if self.side_loss is not None:
            losses.update(self._side_losses(maps, targets))
        return losses

    def _side_losses(self, maps: Maps, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the sum of the levels' side losses, and how often the finest level has the sides right."""
        stride = self.codec.tag_strides[0]
        index, flip_indices = targets[f"tag_index{stride}"], self.codec.meta.flip_indices
        total = 0.0
        for s in self.codec.strides:
            # Finer maps are averaged to the tags' stride.
            heatmaps = F.avg_pool2d(getattr(maps, f"heat{s}").float(), stride // s)
            term, right = self.side_loss(heatmaps, index, flip_indices)
            total = total + term
        return {"loss_side": total, "acc_side": right}

    def _build_heatmap_losses(self, configs: Mapping | Sequence[Mapping]) -> nn.ModuleList:
        levels = self.codec.strides
        if isinstance(configs, Mapping):
            configs = [configs] * len(levels)
        if len(configs) != len(levels):
            raise ValueError(
                f"heatmap_loss has {len(configs)} entries, expected one, or one for each stride {levels}"
            )
        return nn.ModuleList(MODELS.build(config) for config in configs)

    def _build_smoothing(self, sigmas: Sequence[float] | None) -> nn.ModuleDict | None:
        if sigmas is None:
            return None
        strides = self.codec.strides
        if isinstance(sigmas, str) or not isinstance(sigmas, Sequence) or len(sigmas) != len(strides):
            raise ValueError(f"smooth_sigmas must be one number for each stride of {strides}, got {sigmas}")
        if not all(isinstance(sigma, (int, float)) and sigma > 0 for sigma in sigmas):
            raise ValueError(f"smooth_sigmas must be positive, map pixels; got {tuple(sigmas)}")
        return nn.ModuleDict(
            {f"heat{s}": GaussianSmoothing(self.num_keypoints, sigma) for s, sigma in zip(strides, sigmas)}
        )

    def _smoothed(self, maps: Maps) -> Maps:
        """Return the maps for decoding; in training they are not smoothed."""
        if self.smoothing is None or self.training:
            return maps
        return maps._replace(**{name: smooth(getattr(maps, name)) for name, smooth in self.smoothing.items()})

    def _init_output(self, conv: nn.Conv2d, tag_init_std: float) -> None:
        """Initialise a convolution with K heatmaps, then tags: heatmaps near 0, like most of a target."""
        with torch.no_grad():
            conv.weight[: self.num_keypoints].normal_(std=0.001)
            conv.weight[self.num_keypoints :].normal_(std=tag_init_std)


def check_one_map(in_channels: Any) -> None:
    """Raise ValueError unless ``in_channels`` is the width of one map."""
    if not isinstance(in_channels, int):
        raise ValueError(
            f"the head expects one map at stride 4, got maps of {tuple(in_channels)} channels: set model.neck to "
            "one that fuses them, such as HighResolutionNeck"
        )


@MODELS.register_module()
class AEHead(BaseAEHead):
    """Heatmaps and tags at stride 4; heatmaps at stride 2 from the upsampled features and maps.

    The codec's ``tag_strides`` says whether stride 2 has tags too.

    Args:
        in_channels: Channels of the neck's map; also the width at stride 2.
        codec: The codec or its config: number of keypoints, tag length, levels.
        num_blocks: BasicBlocks at stride 2.
        tag_init_std: Standard deviation of the tag rows' initial weights. The paper's 0.001 starts near a saddle point
            where all tags are equal; about 0.05 helps on small datasets.
        heatmap_loss: Config of the heatmap loss, or one for each of the codec's strides.
        tag_loss: Config of the tag loss.
        init_std: Standard deviation of the convolutions' initial weights; None: Kaiming initialisation.
        zero_init_residual: Initialise the blocks as identities.
        smooth_sigmas: Standard deviations of Gaussians that smooth the heatmaps in inference, map pixels, one for each
            of the codec's strides; None: no smoothing. It helps networks whose maps are still noisy.
        side_loss: Config of a left/right loss, ``SideLoss``; None: no such loss.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: The codec's strides are not (4, 2), or ``heatmap_loss`` or ``smooth_sigmas`` has the wrong number of
            entries.
    """

    def __init__(
        self,
        in_channels: int,
        codec: Any,
        num_blocks: int = 2,
        tag_init_std: float = 0.001,
        init_std: float | None = 0.001,
        heatmap_loss: HeatmapLosses = None,
        tag_loss: Mapping | None = None,
        zero_init_residual: bool = False,
        smooth_sigmas: Sequence[float] | None = None,
        side_loss: Mapping | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(codec, heatmap_loss, tag_loss, side_loss, smooth_sigmas, init_cfg)
        check_one_map(in_channels)
        if self.codec.strides != (4, 2):
            raise ValueError(f"AEHead needs strides (4, 2), got {self.codec.strides}: set codec.strides")
        first = self.num_keypoints + self.num_tags
        self.with_tag2 = 2 in self.codec.tag_strides
        self.output4 = nn.Conv2d(in_channels, first, 1)
        self.deconv = nn.Sequential(
            nn.ConvTranspose2d(in_channels + first, in_channels, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(in_channels),
            nn.ReLU(),
        )
        self.blocks = nn.Sequential(*(BasicBlock(in_channels) for _ in range(num_blocks)))
        self.output2 = nn.Conv2d(in_channels, first if self.with_tag2 else self.num_keypoints, 1)
        init_convs(self, init_std)
        if zero_init_residual:
            init_residuals(self)
        self._init_output(self.output4, tag_init_std)
        self._init_output(self.output2, tag_init_std)

    def forward(self, features: Tensor) -> Maps:
        """Return the maps of (B, in_channels, H/4, W/4) features."""
        first = self.output4(features)
        second = self.output2(self.blocks(self.deconv(torch.cat([features, first], dim=1))))
        k = self.num_keypoints
        # No slice that keeps all channels: Core ML's converter does not accept it.
        heat2, tag2 = (second[:, :k], second[:, k:]) if self.with_tag2 else (second, None)
        return self._smoothed(Maps(heat4=first[:, :k], tag4=first[:, k:], heat2=heat2, tag2=tag2))


@MODELS.register_module()
class SingleLevelAEHead(BaseAEHead):
    """The plain head: one 1x1 convolution to heatmaps and tags at stride 4, or at stride 2 after a transposed one.

    Source: HRNet with associative embedding, arXiv:1902.09212.

    Args:
        in_channels: Channels of the neck's map; also the width at stride 2.
        codec: The codec or its config, with ``strides=(4,)`` or ``(2,)``.
        tag_init_std: As in ``AEHead``.
        heatmap_loss: Config of the heatmap loss, or one for each of the codec's strides.
        tag_loss: Config of the tag loss.
        init_std: Standard deviation of the convolutions' initial weights; None: Kaiming initialisation.
        smooth_sigmas: As in ``AEHead``.
        side_loss: As in ``AEHead``.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: The codec has two levels.
    """

    def __init__(
        self,
        in_channels: int,
        codec: Any,
        tag_init_std: float = 0.001,
        init_std: float | None = 0.001,
        heatmap_loss: HeatmapLosses = None,
        tag_loss: Mapping | None = None,
        smooth_sigmas: Sequence[float] | None = None,
        side_loss: Mapping | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(codec, heatmap_loss, tag_loss, side_loss, smooth_sigmas, init_cfg)
        check_one_map(in_channels)
        if len(self.codec.strides) > 1:
            raise ValueError(
                f"SingleLevelAEHead needs strides (4,) or (2,), got {self.codec.strides}: set codec.strides"
            )
        output = nn.Conv2d(in_channels, self.num_keypoints + self.num_tags, 1)
        self.deconv = None
        if self.codec.strides == (2,):
            self.deconv = nn.Sequential(
                nn.ConvTranspose2d(in_channels, in_channels, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(in_channels),
                nn.ReLU(),
            )
            self.output2 = output
        else:
            self.output4 = output
        init_convs(self, init_std)
        self._init_output(output, tag_init_std)

    def forward(self, features: Tensor) -> Maps:
        """Return the maps of (B, in_channels, H/4, W/4) features."""
        if self.deconv is None:
            maps = self.output4(features)
            return self._smoothed(
                Maps(heat4=maps[:, : self.num_keypoints], tag4=maps[:, self.num_keypoints :])
            )
        maps = self.output2(self.deconv(features))
        return self._smoothed(Maps(heat2=maps[:, : self.num_keypoints], tag2=maps[:, self.num_keypoints :]))
