"""Automatic mixed precision on the CPU and on CUDA in one optimizer wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor, nn

from ehrpose.registry import OPTIM_WRAPPERS

DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}


@OPTIM_WRAPPERS.register_module()
class AutocastOptimWrapper(OptimWrapper):
    """Run the forward pass under ``torch.autocast`` on the device of the model's parameters.

    MMEngine's own AmpOptimWrapper refuses the CPU. Clipping and accumulation of gradients are those of
    OptimWrapper.

    Args:
        dtype: ``"bfloat16"`` or ``"float16"``; None takes bfloat16, or float16 on a CUDA device without
            bfloat16. float16 needs CUDA, and only there and then the loss is scaled.
        loss_scale: Start of the dynamic loss scale, positive; used with float16 alone.
        kwargs: Arguments of OptimWrapper: optimizer, accumulative_counts, clip_grad.

    Raises:
        ValueError: The dtype is unknown, or is float16 on the CPU.
    """

    def __init__(self, dtype: str | None = None, loss_scale: float = 2.0**16, **kwargs: Any):
        super().__init__(**kwargs)
        self.device_type = self.optimizer.param_groups[0]["params"][0].device.type
        name = dtype or _default_dtype(self.device_type)
        if name not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
        if name == "float16" and self.device_type == "cpu":
            raise ValueError("dtype float16 needs CUDA; on the CPU use dtype='bfloat16'")
        self.dtype = DTYPES[name]
        scaled = self.dtype is torch.float16
        self.loss_scaler = torch.amp.GradScaler(self.device_type, init_scale=loss_scale, enabled=scaled)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Give the context of the forward pass: autocast; no synchronisation while gradients accumulate."""
        with super().optim_context(model), torch.autocast(self.device_type, self.dtype):
            yield

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        self.loss_scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        """Unscale, clip and update; float16 gradients that overflowed are left out and lower the scale."""
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
        """Load the optimizer's state, and the loss scale's where there is one."""
        state_dict = dict(state_dict)
        scaler = state_dict.pop("loss_scaler", None)
        if scaler:
            self.loss_scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)


def _default_dtype(device_type: str) -> str:
    if device_type == "cuda" and not torch.cuda.is_bf16_supported():
        return "float16"
    return "bfloat16"
