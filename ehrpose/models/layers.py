"""Layers shared by backbones, necks and heads.

Source: EfficientNet (arXiv:1905.11946) for MBConv, ResNet (arXiv:1512.03385) for BasicBlock and Bottleneck, MobileNetV2
(arXiv:1801.04381) for InvertedResidual.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class SplitPadConv2d(nn.Conv2d):
    """Convolution padded by p // 2 before and p - p // 2 after, p = max(kernel - stride, 0).

    For sides divisible by the stride this is TensorFlow's "same" padding, with constants instead of shape
    arithmetic, so that an exported graph stays static.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1
    ):
        total = max(kernel_size - stride, 0)
        before, after = total // 2, total - total // 2
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding=before if before == after else 0,
            groups=groups,
            bias=False,
        )
        self.split_padding = None if before == after else (before, after, before, after)
        self.is_depthwise = groups == in_channels > 1
        self.with_kernel = False  # see ehrpose.models.cpu_training

    def forward(self, x: Tensor) -> Tensor:
        if self.with_kernel and self._kernel_fits(x):
            return self._by_kernel(x)
        if self.split_padding is not None:
            x = F.pad(x, self.split_padding)
        if self.is_depthwise and _trains_in_cpu_autocast(x, self.weight):
            dtype = torch.get_autocast_dtype("cpu")
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float()).to(dtype)
        return super().forward(x)

    def _kernel_fits(self, x: Tensor) -> bool:
        return (
            self.training
            and x.device.type == "cpu"
            and x.dtype in (torch.float32, torch.bfloat16)
            and self.weight.dtype == torch.float32
            and x.is_contiguous(memory_format=torch.channels_last)
        )

    def _by_kernel(self, x: Tensor) -> Tensor:
        from ehrpose.models.compiled.depthwise import Depthwise

        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        before, after = (self.split_padding or (self.padding[0], self.padding[0]))[:2]
        return Depthwise.apply(x, self.weight, self.stride[0], before, after)


def _trains_in_cpu_autocast(x: Tensor, weight: Tensor) -> bool:
    """Return whether a bfloat16 backward pass on the CPU follows, which for depthwise is several times float32's time.

    With torch 2.13 and oneDNN, over the layers of B0 at 128 px and batch 8: 14 ms against 1 for the input's gradients
    of the 3x3 kernels, 39 against 8 for both gradients of the 5x5 ones.
    """
    return (
        x.device.type == "cpu"
        and weight.requires_grad
        and torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
    )


class ConvBNAct(nn.Sequential):
    """Split-padded convolution, batch norm, activation (none if ``act=None``)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        groups: int = 1,
        act: Callable[[], nn.Module] | None = nn.SiLU,
        bn_eps: float = 1e-5,
    ):
        super().__init__()
        self.conv = SplitPadConv2d(in_channels, out_channels, kernel_size, stride, groups)
        self.bn = nn.BatchNorm2d(out_channels, eps=bn_eps)
        if act is not None:
            self.act = act()


class SqueezeExcite(nn.Module):
    """Channel attention: global mean, two 1x1 convolutions, sigmoid gate."""

    def __init__(self, channels: int, hidden_channels: int):
        super().__init__()
        self.reduce = nn.Conv2d(channels, hidden_channels, 1)
        self.expand = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.expand(F.silu(self.reduce(gate))))


class MBConv(nn.Module):
    """Inverted residual block of EfficientNet: expand, depthwise, squeeze-excite, project.

    Args:
        in_channels: Input channels; the squeeze-excite hidden size is a quarter of them.
        out_channels: Output channels.
        expansion: Factor of the 1x1 expansion; 1 omits it.
        kernel_size: Side of the depthwise kernel.
        stride: 1 or 2. The input is added to the output if it is 1 and the channels agree.
        squeeze_excite: False in EfficientNet-Lite.
        act: Activation.
        drop_connect: Probability that a sample skips the block in training, 0 to below 1.
        bn_eps: Epsilon of the batch norms.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expansion: int,
        kernel_size: int,
        stride: int,
        squeeze_excite: bool = True,
        act: Callable[[], nn.Module] = nn.SiLU,
        drop_connect: float = 0.0,
        bn_eps: float = 1e-5,
    ):
        super().__init__()
        hidden = in_channels * expansion
        self.drop_connect = drop_connect
        self.with_identity = stride == 1 and in_channels == out_channels
        self.expand = (
            ConvBNAct(in_channels, hidden, 1, act=act, bn_eps=bn_eps) if expansion != 1 else nn.Identity()
        )
        self.depthwise = ConvBNAct(hidden, hidden, kernel_size, stride, groups=hidden, act=act, bn_eps=bn_eps)
        self.se = SqueezeExcite(hidden, max(1, in_channels // 4)) if squeeze_excite else nn.Identity()
        self.project = ConvBNAct(hidden, out_channels, 1, act=None, bn_eps=bn_eps)

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.se(self.depthwise(self.expand(x))))
        if not self.with_identity:
            return out
        if self.training and self.drop_connect > 0:
            keep = 1.0 - self.drop_connect
            mask = torch.rand((len(x), 1, 1, 1), device=x.device) < keep
            return torch.addcmul(x, out, mask.to(out.dtype) / keep)
        return x + out


class BasicBlock(nn.Module):
    """Residual block of two 3x3 convolutions at constant width."""

    norm_acts: ClassVar[dict[str, str]] = {"bn1": "relu"}

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(x)))
        return F.relu(x + self.bn2(self.conv2(out)))


def conv_bn_act(
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int = 1,
    groups: int = 1,
    act: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Return a convolution padded alike on all sides, a batch norm and an activation (none if ``act=None``)."""
    layers = nn.Sequential(
        nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False
        ),
        nn.BatchNorm2d(out_channels),
    )
    if act is not None:
        layers.append(act())
    return layers


class Bottleneck(nn.Module):
    """Residual block of 1x1, 3x3 (with the stride) and 1x1 convolution; the result is four times as wide.

    Args:
        in_channels: Input channels.
        width: Channels of the first two convolutions; the output has ``4 * width``.
        stride: 1 or 2.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int = 1):
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )
        else:
            self.downsample = nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(self.conv1(x)))
        out = F.relu(self.bn2(self.conv2(out)))
        return F.relu(self.downsample(x) + self.bn3(self.conv3(out)))


class InvertedResidual(nn.Module):
    """Inverted residual block: expand, depthwise, project, with ReLU6 after the first two.

    Args:
        in_channels: Input channels.
        out_channels: Output channels.
        stride: 1 or 2. The input is added to the output if it is 1 and the channels agree.
        expansion: Factor of the 1x1 expansion; 1 omits it.
        kernel_size: Side of the depthwise kernel, which is padded alike on all sides.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, expansion: int = 6, kernel_size: int = 3
    ):
        super().__init__()
        hidden = in_channels * expansion
        self.with_identity = stride == 1 and in_channels == out_channels
        self.expand = conv_bn_act(in_channels, hidden, 1, act=nn.ReLU6) if expansion != 1 else nn.Identity()
        self.depthwise = conv_bn_act(hidden, hidden, kernel_size, stride, groups=hidden, act=nn.ReLU6)
        self.project = conv_bn_act(hidden, out_channels, 1, act=None)

    def forward(self, x: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(x)))
        return x + out if self.with_identity else out


class GaussianSmoothing(nn.Module):
    """Gaussian filter of each channel, as two 1D convolutions with zero padding.

    Args:
        channels: Channels of the map.
        sigma: Standard deviation, map pixels. The filter is cut off at 3 sigma.
    """

    kernel_x: Tensor
    kernel_y: Tensor

    def __init__(self, channels: int, sigma: float):
        super().__init__()
        self.channels, self.radius = channels, math.ceil(3 * sigma)
        steps = torch.arange(-self.radius, self.radius + 1, dtype=torch.float64)
        kernel = torch.exp(-(steps**2) / (2 * sigma**2))
        kernel = (kernel / kernel.sum()).float().expand(channels, 1, 1, -1).contiguous()
        # Constants, so not part of a checkpoint.
        self.register_buffer("kernel_x", kernel, persistent=False)
        self.register_buffer("kernel_y", kernel.transpose(2, 3).contiguous(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.conv2d(x, self.kernel_x.to(x.dtype), padding=(0, self.radius), groups=self.channels)
        return F.conv2d(x, self.kernel_y.to(x.dtype), padding=(self.radius, 0), groups=self.channels)


def checkpointed(block: Callable[[Tensor], Any], x: Tensor, with_cp: bool) -> Any:
    """Apply ``block``; with ``with_cp`` its activations are recomputed in the backward pass.

    Recomputing runs the batch norms a second time, so their running statistics are updated twice per step.
    """
    if with_cp and torch.is_grad_enabled() and x.requires_grad:
        return checkpoint(block, x, use_reentrant=False)
    return block(x)


def init_convs(module: nn.Module, std: float | None = 0.001) -> None:
    """Initialise convolutions with N(0, std), biases with 0, batch norms with scale 1 and shift 0.

    The paper's 0.001 is meant for a pre-trained backbone and a long schedule. ``None`` is Kaiming initialisation,
    with which training from random weights is much faster.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            if std is None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def init_residuals(module: nn.Module) -> None:
    """Initialise the last batch norm of every BasicBlock with 0, so that the block starts as an identity.

    Source: arXiv:1706.02677, section 5.1.
    """
    for block in module.modules():
        if isinstance(block, BasicBlock):
            nn.init.zeros_(block.bn2.weight)
