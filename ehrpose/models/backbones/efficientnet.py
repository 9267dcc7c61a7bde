"""EfficientNet scaled below (and above) B0, and EfficientNet-Lite.

Source: arXiv:1905.11946, scaled by phi as in EfficientHRNet, arXiv:2007.08090, section 3.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from ehrpose.models.layers import ConvBNAct, MBConv, checkpointed
from ehrpose.models.scaling import (
    HEAD_CHANNELS,
    MBCONV_STAGES,
    STEM_CHANNELS,
    compound_scaling,
    round_channels,
    round_repeats,
)
from ehrpose.registry import MODELS


@MODELS.register_module()
class EfficientNet(BaseModule):
    """EfficientNet without classifier: returns one feature map per requested stage.

    Args:
        phi: Scaling coefficient; defines ``width`` and ``depth``. Set either phi or both of them.
        width: Multiplier of channels.
        depth: Multiplier of repeats.
        out_indices: Stages (0 to 6) whose outputs are returned. The default has strides 4, 8, 16, 32.
        frozen_stages: -1: none; 0: the stem; n: the stem and the first n stages. Frozen parts have no gradient, and
            their batch norms are in eval mode.
        norm_eval: Keep all batch norms in eval mode during training.
        drop_connect: Probability of skipping a residual block in training.
        with_cp: Gradient checkpointing: less memory, about a third more time.
        init_cfg: MMEngine's initialisation, e.g. ``dict(type="Pretrained", checkpoint=...)``.

    Attributes:
        out_channels: Channels of each returned map.
        out_strides: Stride of each returned map.
        head_channels: Width of the classification head's 1x1 convolution.

    Raises:
        ValueError: Neither or both of phi and width/depth are given, or an index is out of range.
    """

    act: Callable[[], nn.Module] = nn.SiLU
    squeeze_excite = True
    bn_eps = 1e-5
    # EfficientNet-Lite keeps the stem, the head and the repeats of the first and last stage of B0.
    fix_ends = False

    def __init__(
        self,
        phi: float | None = None,
        width: float | None = None,
        depth: float | None = None,
        out_indices: Sequence[int] = (1, 2, 4, 6),
        frozen_stages: int = -1,
        norm_eval: bool = False,
        drop_connect: float = 0.2,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        width, depth = _multipliers(phi, width, depth)
        num_stages = len(MBCONV_STAGES)
        if not out_indices or any(not 0 <= i < num_stages for i in out_indices):
            raise ValueError(f"out_indices must be stages 0 to {num_stages - 1}, got {tuple(out_indices)}")
        if not -1 <= frozen_stages <= num_stages:
            raise ValueError(f"frozen_stages must be -1 to {num_stages}, got {frozen_stages}")
        if not 0 <= drop_connect < 1:
            raise ValueError(f"drop_connect must be at least 0 and below 1, got {drop_connect}")
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.with_cp = with_cp
        ends_width = 1.0 if self.fix_ends else width
        self.head_channels = round_channels(HEAD_CHANNELS, ends_width)
        channels = round_channels(STEM_CHANNELS, ends_width)
        self.stem = ConvBNAct(3, channels, 3, 2, act=self.act, bn_eps=self.bn_eps)
        self.stages = nn.ModuleList()
        stage_channels, strides, total_stride = [], [], 2
        for i, (expansion, base_channels, repeats, stride, kernel_size) in enumerate(MBCONV_STAGES):
            out_channels = round_channels(base_channels, width)
            if not (self.fix_ends and i in (0, num_stages - 1)):
                repeats = round_repeats(repeats, depth)
            blocks = nn.Sequential()
            for n in range(repeats):
                blocks.append(
                    MBConv(
                        channels,
                        out_channels,
                        expansion,
                        kernel_size,
                        stride if n == 0 else 1,
                        squeeze_excite=self.squeeze_excite,
                        act=self.act,
                        drop_connect=drop_connect,
                        bn_eps=self.bn_eps,
                    )
                )
                channels = out_channels
            self.stages.append(blocks)
            total_stride *= stride
            stage_channels.append(channels)
            strides.append(total_stride)
        self.out_channels = tuple(stage_channels[i] for i in self.out_indices)
        self.out_strides = tuple(strides[i] for i in self.out_indices)
        self.last_channels = channels
        self._init_random()
        self._freeze()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the maps of ``out_indices`` for a (B, 3, H, W) normalised image, H and W multiples of 32."""
        x = self.stem(x)
        outs = {}
        for i, stage in enumerate(self.stages[: max(self.out_indices) + 1]):
            for block in stage:
                x = checkpointed(block, x, self.with_cp and self.training)
            outs[i] = x
        return tuple(outs[i] for i in self.out_indices)

    def train(self, mode: bool = True) -> EfficientNet:
        super().train(mode)
        if mode:
            self._freeze()
            if self.norm_eval:
                _eval_norms(self)
        return self

    def _init_random(self) -> None:
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def _freeze(self) -> None:
        if self.frozen_stages < 0:
            return
        for part in (self.stem, *self.stages[: self.frozen_stages]):
            _eval_norms(part)
            for parameter in part.parameters():
                parameter.requires_grad = False


@MODELS.register_module()
class EfficientNetLite(EfficientNet):
    """EfficientNet-Lite: no squeeze-excite, ReLU6, stem and head not scaled; suited to INT8.

    Lite0 is phi 0; Lite1 is width 1.0, depth 1.1; Lite2 is width 1.1, depth 1.2. The published
    ImageNet weights expect the input ``(x - 127) / 128``.
    """

    act = nn.ReLU6
    squeeze_excite = False
    bn_eps = 1e-3
    fix_ends = True


def _multipliers(phi: float | None, width: float | None, depth: float | None) -> tuple[float, float]:
    if phi is not None and (width is not None or depth is not None):
        raise ValueError(
            f"expected phi, or width and depth, not both; got phi={phi}, width={width}, depth={depth}"
        )
    if phi is not None:
        scaling = compound_scaling(phi)
        return scaling.width, scaling.depth
    if width is None or depth is None or width <= 0 or depth <= 0:
        raise ValueError(f"expected phi, or positive width and depth; got width={width}, depth={depth}")
    return width, depth


def _eval_norms(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eval()
