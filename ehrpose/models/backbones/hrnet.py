"""HRNet's trunk: branches at strides 4 to 32 side by side, fused again and again; the finest is returned.

Source: HRNet, arXiv:1902.09212; bottom-up with HigherHRNet, arXiv:1908.10357. Facts about its published weights are in
docs/rivals.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.models.layers import Bottleneck, checkpointed, conv_bn_act, init_convs
from ehrpose.models.necks.high_resolution import HighResolutionModule
from ehrpose.registry import MODELS

_STEM_CHANNELS = 64
_LAYER1_BLOCKS = 4


@MODELS.register_module()
class HRNet(BaseModule):
    """HRNet of a width: 32 and 48 are the published ones.

    In contrast to ``HighResolutionNeck``, a stage's new branch comes from the coarsest branch of the stage before, not
    from a backbone's map, and the other branches pass unchanged.

    Args:
        width: Channels of the finest branch; each coarser one has twice as many.
        num_modules: Modules of stages 2, 3 and 4.
        num_blocks: BasicBlocks per branch and module.
        with_cp: Gradient checkpointing of the modules.
        init_cfg: MMEngine's initialisation.

    Attributes:
        out_channels: Channels of the returned map, as a tuple of one.
        out_strides: Its stride, (4,).

    Raises:
        ValueError: A size is below 1, or ``num_modules`` does not have three entries.
    """

    def __init__(
        self,
        width: int = 32,
        num_modules: Sequence[int] = (1, 4, 3),
        num_blocks: int = 4,
        with_cp: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if len(num_modules) != 3 or min(width, num_blocks, *num_modules) < 1:
            raise ValueError(
                f"expected width and num_blocks of at least 1 and three num_modules, got width={width}, "
                f"num_blocks={num_blocks} and num_modules={tuple(num_modules)}"
            )
        self.with_cp = with_cp
        self.out_channels, self.out_strides = (width,), (4,)
        widths = [width * 2**branch for branch in range(4)]
        self.conv1 = nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.conv2 = nn.Conv2d(_STEM_CHANNELS, _STEM_CHANNELS, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(_STEM_CHANNELS)
        self.layer1 = nn.Sequential()
        channels = _STEM_CHANNELS
        for _ in range(_LAYER1_BLOCKS):
            self.layer1.append(Bottleneck(channels, _STEM_CHANNELS))
            channels = _STEM_CHANNELS * Bottleneck.expansion
        self.finest = conv_bn_act(channels, width, 3)
        self.transitions = nn.ModuleList()
        self.stages = nn.ModuleList()
        for s, modules in enumerate(num_modules):
            self.transitions.append(
                conv_bn_act(channels if s == 0 else widths[s], widths[s + 1], 3, stride=2)
            )
            self.stages.append(
                nn.ModuleList(
                    HighResolutionModule(
                        widths[: s + 2], num_blocks, 1 if (s, m) == (2, modules - 1) else None
                    )
                    for m in range(modules)
                )
            )
        init_convs(self, None)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return the (B, width, H/4, W/4) map of a (B, 3, H, W) normalised image, H and W multiples of 32."""
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer1(F.relu(self.bn2(self.conv2(x))))
        maps = [self.finest(x)]
        for s, (transition, stage) in enumerate(zip(self.transitions, self.stages)):
            maps.append(transition(x if s == 0 else maps[-1]))
            for module in stage:
                maps = self._run_module(module, maps)
        return (maps[0],)

    def _run_module(self, module: nn.Module, maps: list[Tensor]) -> list[Tensor]:
        return checkpointed(lambda first: module([first, *maps[1:]]), maps[0], self.with_cp and self.training)
