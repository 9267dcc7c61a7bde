"""Batch norms and depthwise convolutions that train in compiled kernels on the CPU (``ehrpose.models.compiled``).

The values are those of torch's layers up to rounding; measurements: docs/benchmarks.md.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ehrpose.models.layers import SplitPadConv2d

_ACTS = {nn.ReLU: "relu", nn.ReLU6: "relu6", nn.SiLU: "silu"}
_FUNCTIONS = {"none": lambda x: x, "relu": F.relu, "relu6": F.relu6, "silu": F.silu}
_TYPES = (torch.float32, torch.bfloat16)


@lru_cache(maxsize=None)
def why_no_kernels() -> str | None:
    """Return why compiled kernels cannot be used here, or None if they can: a small one is compiled and run."""
    try:
        from ehrpose.models.compiled.norm import NormAct
        from ehrpose.models.compiled.threads import parallel_regions
    except ImportError:
        return "they need llvmlite, which comes with numba: pip install numba"
    if parallel_regions() is None:
        return "this build of torch has no GNU OpenMP of its own"
    x = torch.arange(64.0).view(1, 32, 1, 2).contiguous(memory_format=torch.channels_last)
    try:
        result = NormAct.apply(x, *torch.ones(4, 32), 0.1, 1e-5, "none")
    except (AttributeError, RuntimeError, TypeError) as error:  # llvmlite of another age
        return f"llvmlite cannot compile them ({error}): pip install -U numba"
    right = torch.allclose(result, F.batch_norm(x, None, None, training=True) + 1, atol=1e-4)
    return None if right else "they compute other values than torch on this CPU: please report it"


def use_cpu_kernels(model: nn.Module) -> tuple[int, int]:
    """Make the norms and depthwise convolutions of a model train in compiled kernels, in place.

    Parameters, buffers and names stay. Kernels are used in training mode and in frozen stages before it, on the CPU, in
    float32 or bfloat16, in channels-last memory; elsewhere, and for shapes that do not fit, the layers are torch's.

    Args:
        model: A network. ReLU, ReLU6 and SiLU right after a norm become part of it.

    Returns:
        Numbers of norms and of depthwise convolutions.
    """
    norms = convs = 0
    for module in list(model.modules()):
        pairs = dict(getattr(module, "norm_acts", {}))
        if isinstance(module, nn.Sequential):
            names = list(module._modules)
            pairs = dict(zip(names, names[1:]))
        for name, child in list(module.named_children()):
            if type(child) is nn.BatchNorm2d and child.affine and child.track_running_stats:
                norm = KernelNorm.of(child)
                act = _ACTS.get(type(getattr(module, pairs[name]))) if name in pairs else None
                if act is not None:
                    norm.act = act
                    setattr(module, pairs[name], nn.Identity())
                setattr(module, name, norm)
                norms += 1
            elif isinstance(child, SplitPadConv2d) and child.is_depthwise and child.in_channels % 16 == 0:
                child.with_kernel = True
                convs += 1
    return norms, convs


class KernelNorm(nn.BatchNorm2d):
    """``BatchNorm2d`` followed by the activation ``act``, a name of ``ehrpose.models.compiled.norm_code.ACTS``."""

    act = "none"

    @classmethod
    def of(cls, norm: nn.BatchNorm2d) -> KernelNorm:
        """Return a norm that shares everything with another."""
        new = cls(norm.num_features, norm.eps, norm.momentum)
        new._parameters, new._buffers = norm._parameters, norm._buffers
        return new.train(norm.training)

    def forward(self, x: Tensor) -> Tensor:
        if self._is_frozen_before(x) and self._fits(x):
            from ehrpose.models.compiled.norm import fixed_norm_act

            fixed: tuple[Any, ...] = (
                self.weight,
                self.bias,
                self.running_mean,
                self.running_var,
                self.eps,
                self.act,
            )
            return fixed_norm_act(x, *fixed)
        if not (self.training and self._fits(x)):
            return _FUNCTIONS[self.act](super().forward(x))
        from ehrpose.models.compiled.norm import NormAct

        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        return NormAct.apply(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.momentum,
            self.eps,
            self.act,
        )

    def _is_frozen_before(self, x: Tensor) -> bool:
        """Return whether this belongs to the frozen stages of a model that trains, where no gradient arrives."""
        frozen = not (
            self.training or self.weight.requires_grad or self.bias.requires_grad or x.requires_grad
        )
        return frozen and torch.is_grad_enabled() and self.running_mean is not None

    def _fits(self, x: Tensor) -> bool:
        from ehrpose.models.compiled.norm import rows_together

        if x.device.type != "cpu" or x.dim() != 4 or x.dtype not in _TYPES or self.momentum is None:
            return False
        pixels = x.numel() // x.shape[1]
        return (
            self.weight.dtype == torch.float32
            and pixels > 1
            and pixels % rows_together(x.shape[1]) == 0
            and x.is_contiguous(memory_format=torch.channels_last)
        )
