"""Transposed convolutions from the backbone's coarsest map to stride 4.

Source: simple baselines, arXiv:1804.06208.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.layers import init_convs
from ehrpose.registry import MODELS


@MODELS.register_module()
class DeconvNeck(BaseModule):
    """Transposed convolutions (4x4, stride 2), each with batch norm and ReLU, on the backbone's last map.

    Args:
        in_channels: Channels of the backbone's maps; only the last map is used.
        in_strides: Their strides.
        channels: Width after each transposed convolution; there must be as many as lead to stride 4.
        init_std: Standard deviation of the convolutions' initial weights; None: Kaiming initialisation.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: The result does not have stride 4.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        channels: Sequence[int] = (256, 256, 256),
        init_std: float | None = 0.001,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if in_strides[-1] != 4 * 2 ** len(channels):
            raise ValueError(
                f"channels: {len(channels)} transposed convolutions lead from stride {in_strides[-1]}, that of the "
                f"backbone's last map, to stride {in_strides[-1] / 2 ** len(channels):g}, expected 4"
            )
        self.out_channels = channels[-1]
        self.layers = nn.Sequential()
        for before, after in zip((in_channels[-1], *channels), channels):
            self.layers.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False))
            self.layers.append(nn.BatchNorm2d(after))
            self.layers.append(nn.ReLU())
        init_convs(self, init_std)

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """Return the (B, channels[-1], H/4, W/4) map."""
        return self.layers(taps[-1])
