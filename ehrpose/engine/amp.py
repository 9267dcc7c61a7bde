"""Automatic mixed precision on the CPU and on CUDA in one optimizer wrapper."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ehrpose.registry import OPTIM_WRAPPERS

NO_BFLOAT16 = (
    "mixed precision: this CPU has no fast bfloat16 (on x86 it needs AVX-512), so it trains in float32; "
    "set optim_wrapper.dtype=bfloat16 to use bfloat16 anyway"
)
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass under ``torch.autocast`` on the device of the model's parameters.

    MMEngine's own AmpOptimWrapper does not support the CPU. Gradient clipping and accumulation are those of
    OptimWrapper.

    Args:
        dtype: ``"bfloat16"`` or ``"float16"``; None selects bfloat16, or float16 on a CUDA device without
            bfloat16, or float32, with a warning, on a CPU without bfloat16 kernels, where bfloat16 would be several
            times slower. float16 needs CUDA; the loss is scaled only with float16.
        loss_scale: Initial value of the dynamic loss scale, positive; used only with float16.
        kwargs: Arguments of OptimWrapper: optimizer, accumulative_counts, clip_grad.

    Raises:
        ValueError: The dtype is unknown, or is float16 on the CPU.
    """

    def __init__(self, dtype: str | None = None, loss_scale: float = 2.0**16, **kwargs: Any):
        super().__init__(**kwargs)
        self.device_type = self.optimizer.param_groups[0]["params"][0].device.type
        name = dtype or _default_dtype(self.device_type)
        if dtype is None and name == "float32":
            print_log(NO_BFLOAT16, "current", logging.WARNING)
        elif name not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        if name == "float16" and self.device_type == "cpu":
            raise ValueError("dtype float16 needs CUDA; on the CPU use dtype='bfloat16'")
        self.dtype = DTYPES.get(name, torch.float32)
        scaled = self.dtype is torch.float16
        self.loss_scaler = torch.amp.GradScaler(self.device_type, init_scale=loss_scale, enabled=scaled)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter the context of the forward pass: autocast, and no synchronisation while gradients accumulate."""
        enabled = self.dtype is not torch.float32
        with super().optim_context(model), torch.autocast(self.device_type, self.dtype, enabled=enabled):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        """Unscale, clip and update; if float16 gradients overflow, the update is skipped and the scale lowered."""
        if self.clip_grad_kwargs:
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.loss_scaler.step(self.optimizer, **kwargs)
        self.loss_scaler.update()

    def state_dict(self) -> dict:
        state = super().state_dict()
        state["loss_scaler"] = self.loss_scaler.state_dict()
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Load the state of the optimizer and, if present, of the loss scale."""
        state_dict = dict(state_dict)
        scaler = state_dict.pop("loss_scaler", None)
        if scaler:
            self.loss_scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)


def _default_dtype(device_type: str) -> str:
    if device_type == "cuda" and not torch.cuda.is_bf16_supported():
        return "float16"
    if device_type == "cpu" and not cpu_has_bfloat16():
        return "float32"
    return "bfloat16"


def cpu_has_bfloat16() -> bool:
    """Return whether PyTorch's convolutions have bfloat16 kernels for this CPU, not just a slow reference."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a build without oneDNN
        return False
