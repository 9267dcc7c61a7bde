"""No neck: the backbone's maps go to the head as they are."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor

from ehrpose.registry import MODELS


@MODELS.register_module()
class PassThroughNeck(BaseModule):
    """Pass on the backbone's only map, or all of them if there are several.

    Args:
        in_channels: Channels of the backbone's maps.
        in_strides: Their strides; several maps are for the head to judge.
        stride: What the stride of a single map must be.
        init_cfg: MMEngine's initialisation.

    Attributes:
        out_channels: Channels of the only map, or those of each map.

    Raises:
        ValueError: The only map does not have this stride.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        in_strides: Sequence[int],
        stride: int = 4,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if len(in_strides) == 1 and in_strides[0] != stride:
            raise ValueError(
                f"the head expects a map at stride {stride}, the backbone's only one has stride {in_strides[0]}: "
                "set model.neck, such as DeconvNeck"
            )
        self.out_channels = in_channels[0] if len(in_channels) == 1 else tuple(in_channels)

    def forward(self, taps: Sequence[Tensor]) -> Tensor | tuple[Tensor, ...]:
        """Return the only map, or all maps."""
        return taps[0] if len(taps) == 1 else tuple(taps)
