"""High-resolution fusion of the backbone's four maps into one at stride 4.

Source: HRNet, arXiv:1902.09212, fed from backbone taps as in EfficientHRNet, arXiv:2007.08090,
section 3.1.2. Axes of a list of maps: branch 0 is stride 4, branch 3 is stride 32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.models.layers import BasicBlock, checkpointed, init_convs, init_residuals
from ehrpose.models.scaling import compound_scaling
from ehrpose.registry import MODELS


class HighResolutionModule(nn.Module):
    """Residual blocks on every branch, then full fusion of all branches by sum.

    Args:
        channels: Width of each branch, finest first.
        num_blocks: BasicBlocks per branch.
        num_outputs: Branches that are fused and returned, finest first.
    """

    def __init__(self, channels: Sequence[int], num_blocks: int = 2, num_outputs: int | None = None):
        super().__init__()
        num_outputs = len(channels) if num_outputs is None else num_outputs
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(num_blocks))) for width in channels
        )
        self.fuse = nn.ModuleList(
            nn.ModuleList(_fuse_path(channels, source, target) for source in range(len(channels)))
            for target in range(num_outputs)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        maps = [branch(x) for branch, x in zip(self.branches, maps)]
        fused = []
        for target, paths in enumerate(self.fuse):
            total = maps[0] if target == 0 else paths[0](maps[0])
            for source in range(1, len(maps)):
                total = total + (maps[source] if source == target else paths[source](maps[source]))
            fused.append(F.relu(total))
        return fused

    def init_identity(self) -> None:
        """Initialise as an identity for non-negative maps: residuals and paths between branches with 0."""
        init_residuals(self)
        for target in range(len(self.fuse)):
            for source, path in enumerate(cast(nn.ModuleList, self.fuse[target])):
                if source != target:
                    norms = [layer for layer in path.modules() if isinstance(layer, nn.BatchNorm2d)]
                    nn.init.zeros_(norms[-1].weight)


@MODELS.register_module()
class HighResolutionNeck(BaseModule):
    """Three stages of 2, 3 and 4 branches over maps at strides 4, 8, 16, 32.

    Args:
        in_channels: Channels of the four maps, finest first.
        phi: Scaling coefficient; defines ``channels`` and ``num_modules``. Set either phi or both of them.
        channels: Widths of the four branches.
        num_modules: Modules of stages 2, 3 and 4.
        num_blocks: BasicBlocks per branch and module.
        width_divisor: Widths derived from ``phi`` are rounded up to multiples of it; 1 is the paper's schedule. 8 or 16
            fill the vector registers of CPUs and tensor cores: wider, yet often faster.
        in_strides: Strides of the four maps; must be 4, 8, 16, 32.
        with_cp: Gradient checkpointing of the branches.
        init_std: Standard deviation of the convolutions' initial weights; None: Kaiming initialisation.
        zero_init_residual: Initialise modules and blocks as identities. After loading a checkpoint of a neck with fewer
            of them (``Pretrained``), the neck returns what the smaller one did, and training continues from there.
        init_cfg: MMEngine's initialisation.

    Raises:
        ValueError: Sizes are missing, given twice or not of length four (three for ``num_modules``), or
            ``width_divisor`` is below 1.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        phi: float | None = None,
        channels: Sequence[int] | None = None,
        num_modules: Sequence[int] | None = None,
        num_blocks: int = 2,
        width_divisor: int = 1,
        in_strides: Sequence[int] = (4, 8, 16, 32),
        with_cp: bool = False,
        init_std: float | None = 0.001,
        zero_init_residual: bool = False,
        init_cfg: dict | None = None,
    ):
        super().__init__(init_cfg)
        if phi is not None and (channels is not None or num_modules is not None):
            raise ValueError(
                f"expected phi, or channels and num_modules, not both; got phi={phi}, {channels} and {num_modules}"
            )
        if width_divisor < 1:
            raise ValueError(f"width_divisor must be at least 1, got {width_divisor}")
        if phi is not None:
            scaling = compound_scaling(phi)
            num_modules = scaling.num_modules
            channels = [math.ceil(width / width_divisor) * width_divisor for width in scaling.branch_channels]
        check_taps(in_channels, in_strides)
        if channels is None or len(channels) != 4 or num_modules is None or len(num_modules) != 3:
            raise ValueError(f"expected 4 channels and 3 num_modules, got {channels} and {num_modules}")
        self.with_cp = with_cp
        self.out_channels = channels[0]
        self.transitions = nn.ModuleList()
        self.stages = nn.ModuleList()
        for s, modules in enumerate(num_modules):
            width = tuple(channels[: s + 2])
            # Branches from the previous stage already have their width; the new one has its tap's.
            sources = in_channels[:2] if s == 0 else (*width[:-1], in_channels[s + 1])
            self.transitions.append(nn.ModuleList(map(_transition, sources, width)))
            last = s == len(num_modules) - 1
            self.stages.append(
                nn.ModuleList(
                    HighResolutionModule(width, num_blocks, 1 if last and m == modules - 1 else None)
                    for m in range(modules)
                )
            )
        init_convs(self, init_std)
        if zero_init_residual:
            for stage in self.stages:
                for module in stage:
                    module.init_identity()

    def forward(self, taps: Sequence[Tensor]) -> Tensor:
        """Fuse four maps (B, C_i, H/s_i, W/s_i) into (B, channels[0], H/4, W/4)."""
        maps = list(taps[:1])
        for s, (transition, stage) in enumerate(zip(self.transitions, self.stages)):
            maps = [enter(x) for enter, x in zip(transition, (*maps, taps[s + 1]))]
            for module in stage:
                maps = self._run_module(module, maps)
        return maps[0]

    def _run_module(self, module: nn.Module, maps: list[Tensor]) -> list[Tensor]:
        if self.with_cp and self.training and maps[0].requires_grad:
            return checkpointed(lambda first: module([first, *maps[1:]]), maps[0], True)
        return module(maps)


def check_taps(in_channels: Sequence[int], in_strides: Sequence[int]) -> None:
    """Raise ValueError unless there are four backbone maps at strides 4, 8, 16, 32."""
    if len(in_channels) != 4 or tuple(in_strides) != (4, 8, 16, 32):
        raise ValueError(
            f"the neck expects four maps at strides (4, 8, 16, 32), got channels {tuple(in_channels)} at "
            f"strides {tuple(in_strides)}: set the backbone's out_indices"
        )


def _transition(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()
    )


def _fuse_path(channels: Sequence[int], source: int, target: int) -> nn.Module:
    """Return the path from branch ``source`` to branch ``target``."""
    if source == target:
        return nn.Identity()
    if source > target:
        return nn.Sequential(
            nn.Conv2d(channels[source], channels[target], 1, bias=False),
            nn.BatchNorm2d(channels[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    path = nn.Sequential()
    for step in range(source + 1, target + 1):
        width = channels[target] if step == target else channels[source]
        conv = nn.Conv2d(channels[source], width, 3, stride=2, padding=1, bias=False)
        path.append(
            nn.Sequential(conv, nn.BatchNorm2d(width), nn.Identity() if step == target else nn.ReLU())
        )
    return path
