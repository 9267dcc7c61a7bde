"""Stacked hourglasses for associative embedding.

Source: Newell et al., arXiv:1603.06937 (hourglass) and arXiv:1611.05424 (associative embedding).
"""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.models.layers import checkpointed
from ehrpose.registry import MODELS


class HourglassConv(nn.Sequential):
    """Convolution, then batch norm and ReLU as asked for; it has a bias if there is no batch norm."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        with_norm: bool = False,
        with_relu: bool = True,
    ):
        super().__init__()
        padding = kernel_size // 2
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=not with_norm)
        if with_norm:
            self.bn = nn.BatchNorm2d(out_channels)
        if with_relu:
            self.relu = nn.ReLU()


class HourglassModule(nn.Module):
    """One hourglass: a path at full size, and one at half the size with the next hourglass in it.

    Args:
        channels: Widths at each size, largest size first; at the last one there is a convolution in place of the next
            hourglass.
        with_norm: Use batch norms.
    """

    def __init__(self, channels: Sequence[int], with_norm: bool):
        super().__init__()
        width, smaller = channels[:2]
        self.up1 = HourglassConv(width, width, with_norm=with_norm)
        self.low1 = HourglassConv(width, smaller, with_norm=with_norm)
        self.low2: nn.Module
        if len(channels) > 2:
            self.low2 = HourglassModule(channels[1:], with_norm)
        else:
            self.low2 = HourglassConv(smaller, smaller, with_norm=with_norm)
        self.low3 = HourglassConv(smaller, width, with_norm=with_norm)

    def forward(self, x: Tensor) -> Tensor:
        low = self.low3(self.low2(self.low1(F.max_pool2d(x, 2))))
        return self.up1(x) + F.interpolate(low, scale_factor=2, mode="nearest")


@MODELS.register_module()
class StackedHourglass(BaseModule):
    """Stacked hourglasses; returns the features of the last stack, from which the head's 1x1 convolution predicts.

    The predictions of the other stacks are computed here, as they are fed back into the features. The training loss
    sees the last stack alone.

    Args:
        num_stacks: Number of hourglasses.
        channels: Widths at strides 4, 8, 16 and so on.
        prediction_channels: Channels of each stack's prediction; 68 in the authors' network, of which half is unused.
        with_norm: Batch norms after all convolutions except the predictions, as in mmpose; the authors' has none.
        with_cp: Gradient checkpointing of the hourglasses.
        init_cfg: MMEngine's initialisation.

    Attributes:
        out_channels: Channels of the returned map, as a tuple of one.
        out_strides: Its stride, (4,).
        side_multiple: The input's sides are multiples of it, px.

    Raises:
        ValueError: ``num_stacks`` is below 1, or there are fewer than two ``channels``.
    """

    def __init__(
        self,
        num_stacks: int = 4,
        channels: Sequence[int] = (256, 384, 512, 640, 768),
        prediction_channels: int = 68,
        with_norm: bool = False,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if num_stacks < 1 or len(channels) < 2:
            raise ValueError(
                f"expected at least 1 stack and 2 channels, got num_stacks={num_stacks}, channels={tuple(channels)}"
            )
        self.with_norm, self.with_cp = with_norm, with_cp
        width = channels[0]
        self.out_channels, self.out_strides = (width,), (4,)
        self.side_multiple = max(32, 2 ** (len(channels) + 1))
        self.stem = nn.Sequential(
            HourglassConv(3, width // 4, 7, stride=2, with_norm=with_norm),
            HourglassConv(width // 4, width // 2, with_norm=with_norm),
            nn.MaxPool2d(2),
            HourglassConv(width // 2, width // 2, with_norm=with_norm),
            HourglassConv(width // 2, width, with_norm=with_norm),
        )
        self.stacks = nn.ModuleList(
            nn.Sequential(
                HourglassModule(channels, with_norm),
                HourglassConv(width, width, with_norm=with_norm),
                HourglassConv(width, width, with_norm=with_norm),
            )
            for _ in range(num_stacks)
        )
        between = range(num_stacks - 1)
        self.predictions = nn.ModuleList(
            HourglassConv(width, prediction_channels, 1, with_relu=False) for _ in between
        )
        self.from_predictions = nn.ModuleList(
            HourglassConv(prediction_channels, width, 1, with_norm=with_norm, with_relu=False)
            for _ in between
        )
        self.from_features = nn.ModuleList(
            HourglassConv(width, width, 1, with_norm=with_norm, with_relu=False) for _ in between
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the (B, channels[0], H/4, W/4) map of a (B, 3, H, W) normalised image."""
        return (self.all_stacks(x)[0],)

    def all_stacks(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the last stack's features, and the predictions of the stacks before."""
        x = self.stem(x)
        predictions: list[Tensor] = []
        feature = x
        for i, stack in enumerate(self.stacks):
            feature = checkpointed(stack, x, self.with_cp and self.training)
            if i < len(self.predictions):
                predictions.append(self.predictions[i](feature))
                x = x + self.from_predictions[i](predictions[-1]) + self.from_features[i](feature)
        return feature, predictions
