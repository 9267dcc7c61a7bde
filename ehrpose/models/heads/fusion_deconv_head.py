"""LitePose's head: transposed convolutions that fuse the backbone's finer maps on the way.

Source: Wang et al., Lite Pose, arXiv:2205.01271, "fusion deconv head". Axes: B images, K keypoint types, T tag length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from ehrpose.models.heads.ae_head import BaseAEHead, HeatmapLosses
from ehrpose.models.layers import init_convs
from ehrpose.registry import MODELS
from ehrpose.structures import Maps


@MODELS.register_module()
class FusionDeconvHead(BaseAEHead):
    """Heatmaps and tags at stride 4, heatmaps at stride 2, from five maps at strides 2, 4, 8, 16, 16.

    Three steps from stride 16 to 2: each adds the transposed convolutions of what was refined so far and of the
    backbone's map of the same stride. The outputs add a convolution of the refined map and one of the backbone's.

    Args:
        in_channels: Channels of the five maps, finest first.
        codec: The codec or its config, with ``strides=(4, 2)``.
        channels: Width after each of the three steps.
        tag_init_std: As in ``AEHead``.
        heatmap_loss: Config of the heatmap loss, or one for each of the codec's strides.
        tag_loss: Config of the tag loss.
        init_std: Standard deviation of the convolutions' initial weights; None: Kaiming initialisation.
        smooth_sigmas: As in ``AEHead``.
        side_loss: As in ``AEHead``.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: There are not five maps or three ``channels``, or the codec's strides are not (4, 2).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        codec: Any,
        channels: Sequence[int] = (16, 24, 24),
        tag_init_std: float = 0.001,
        init_std: float | None = 0.001,
        heatmap_loss: HeatmapLosses = None,
        tag_loss: Mapping | None = None,
        smooth_sigmas: Sequence[float] | None = None,
        side_loss: Mapping | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(codec, heatmap_loss, tag_loss, side_loss, smooth_sigmas, init_cfg)
        if self.codec.strides != (4, 2):
            raise ValueError(
                f"FusionDeconvHead needs strides (4, 2), got {self.codec.strides}: set codec.strides"
            )
        if isinstance(in_channels, int) or len(in_channels) != 5 or len(channels) != 3:
            raise ValueError(
                f"FusionDeconvHead expects five maps and three channels, got {in_channels} and {tuple(channels)}: "
                "set the backbone to LitePose and model.neck to PassThroughNeck"
            )
        first = self.num_keypoints + self.num_tags
        self.with_tag2 = 2 in self.codec.tag_strides
        outputs = (first, first if self.with_tag2 else self.num_keypoints)
        finest, at4, at8, at16, last = in_channels
        self.deconv_refined = nn.ModuleList(map(_deconv, (last, *channels), channels))
        self.deconv_raw = nn.ModuleList(map(_deconv, (at16, at8, at4), channels))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in channels)
        self.relu = nn.ReLU()
        self.output_refined = nn.ModuleList(map(_output, channels[1:], outputs))
        self.output_raw = nn.ModuleList(map(_output, (at4, finest), outputs))
        init_convs(self, init_std)
        for output in (*self.output_refined, *self.output_raw):
            self._init_output(output[-1], tag_init_std)

    def forward(self, taps: Sequence[Tensor]) -> Maps:
        """Return the maps of the backbone's five maps (B, C_i, H/s_i, W/s_i)."""
        finest, at4, at8, at16, refined = taps
        outputs = []
        for step, (raw, same_size) in enumerate(((at16, None), (at8, at4), (at4, finest))):
            total = self.deconv_refined[step](refined) + self.deconv_raw[step](raw)
            refined = self.relu(self.norms[step](total))
            if same_size is not None:
                level = step - 1
                outputs.append(self.output_refined[level](refined) + self.output_raw[level](same_size))
        first, second = outputs
        k = self.num_keypoints
        # No slice that keeps all channels: Core ML's converter does not accept it.
        heat2, tag2 = (second[:, :k], second[:, k:]) if self.with_tag2 else (second, None)
        return self._smoothed(Maps(heat4=first[:, :k], tag4=first[:, k:], heat2=heat2, tag2=tag2))


def _deconv(in_channels: int, out_channels: int) -> nn.Module:
    return nn.ConvTranspose2d(in_channels, out_channels, 4, stride=2, padding=1, bias=False)


def _output(in_channels: int, out_channels: int) -> nn.Sequential:
    """Return a depthwise 5x5 convolution and a 1x1 convolution."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 5, padding=2, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, 1, bias=False),
    )
