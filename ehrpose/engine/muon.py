"""Muon for convolutional networks: the steps of weight matrices are made orthogonal, all others are AdamW's.

Source of the method: https://kellerjordan.github.io/posts/muon; of the step's size: arXiv 2502.16982.
``torch.optim.Muon`` takes matrices only: no filters, no biases and no norms.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from ehrpose.registry import OPTIMIZERS

# The quintic iteration of the source: singular values end between about 0.7 and 1.2 after five rounds.
_A, _B, _C = 3.4445, -4.7750, 2.0315
_ROUNDS = 5
# Root mean square of an AdamW step, as a share of the learning rate, in the second source.
_RMS = 0.2


@OPTIMIZERS.register_module()
class Muon(torch.optim.AdamW):
    """AdamW, but for weights with several inputs: filters of shape (out, in, ...) and matrices.

    Their step is the Nesterov momentum of the gradient, as a matrix (out, the rest), with all singular values made
    about equal, and as large as an AdamW step is in the mean. So it takes AdamW's learning rate. Depthwise filters,
    norms and biases are AdamW's.

    Args:
        params: Parameters, or groups of them, as for all optimizers of torch.
        lr: Learning rate, at least 0.
        momentum: Share of the mean gradient that is kept at each step, 0 to below 1.
        betas: AdamW's.
        eps: AdamW's.
        weight_decay: Decoupled, for all parameters of the group.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ):
        if not 0 <= momentum < 1:
            raise ValueError(f"expected momentum from 0 to below 1, got {momentum}")
        self._momentum = momentum  # before the groups are added
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as two: its matrices, and the rest."""
        params = param_group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        shared = {"momentum": self._momentum, **param_group}
        for orthogonal in (True, False):
            part = [p for p in params if _is_matrix(p[1] if isinstance(p, tuple) else p) is orthogonal]
            if part:
                super().add_param_group({**shared, "params": part, "orthogonal": orthogonal})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Make one step; return the closure's value, if there is one."""
        groups = self.param_groups
        try:
            self.param_groups = [group for group in groups if not group["orthogonal"]]
            value = super().step(closure)
        finally:
            self.param_groups = groups
        for group in groups:
            if group["orthogonal"]:
                self._step_matrices(group)
        return value

    def _step_matrices(self, group: dict[str, Any]) -> None:
        """Step the weights of one shape together: one product of many small matrices instead of many products."""
        alike = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is not None:
                alike[weight.shape].append(weight)
        for weights in alike.values():
            directions = []
            for weight in weights:
                state = self.state[weight]
                if not state:
                    # AdamW's way to load a state asks each parameter for its number of steps.
                    state["step"] = torch.tensor(0.0)
                    state["momentum_buffer"] = torch.zeros_like(weight)
                state["step"] += 1
                mean = state["momentum_buffer"].lerp_(weight.grad, 1 - group["momentum"])
                directions.append(weight.grad.lerp(mean, group["momentum"]).flatten(1))
            steps = orthogonal(torch.stack(directions))
            size = group["lr"] * _RMS * max(steps.shape[1:]) ** 0.5
            for weight, step in zip(weights, steps):
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.sub_(step.view(weight.shape), alpha=size)


def orthogonal(matrices: Tensor) -> Tensor:
    """Return matrices with the same singular vectors, whose singular values are near 1.

    Args:
        matrices: (N, rows, columns), of any size.

    Returns:
        (N, rows, columns) float32; a matrix of zeros stays one.
    """
    wide = matrices if matrices.shape[1] <= matrices.shape[2] else matrices.mT
    x = wide.float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
    # As bfloat16 where the products are fast so; the iteration does not need the digits.
    x = x.bfloat16() if _has_fast_bfloat16(x) else x
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    x = x.float()
    return x if wide is matrices else x.mT


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and parameter.shape[0] > 1 and parameter.shape[1] > 1


def _has_fast_bfloat16(tensor: Tensor) -> bool:
    if tensor.is_cuda:
        return torch.cuda.is_bf16_supported()
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
