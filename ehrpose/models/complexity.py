"""Parameters and multiply-adds of a network, as they are and as the paper counts them.

Source of the paper's figures: Neff et al., EfficientHRNet, arXiv:2007.08090, Tables 3 to 5. Its counter adds
the parameters of every MBConv block twice, counts a transposed convolution at its output size, and calls
multiply-adds FLOPs. The same counter added the convolutions of the authors' stacked hourglasses twice (277.8 million
parameters), as these were wrapped in a class whose name it knew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ehrpose.models.backbones.hourglass import StackedHourglass
from ehrpose.models.layers import MBConv

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_COUNTED = (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear)


@dataclass(frozen=True)
class LayerCount:
    """One pass of an image batch through one layer.

    Attributes:
        name: Dotted name of the layer inside the model.
        kind: Class of the layer.
        output_shape: Batch first.
        params: Parameters of the layer, bias included.
        macs: Multiply-adds of the batch, without biases and activations.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    params: int
    macs: int


@dataclass(frozen=True)
class Complexity:
    """Cost of a network.

    Attributes:
        params: Parameters of the whole network.
        macs: Multiply-adds of one pass.
        parts: (params, macs) of each direct child that has parameters, such as backbone, neck, head.
        layers: Every convolution, transposed convolution and linear layer, in the order of execution.
    """

    params: int
    macs: int
    parts: dict[str, tuple[int, int]]
    layers: list[LayerCount]


@torch.no_grad()
def count_complexity(
    model: nn.Module, input_size: Sequence[int], batch_size: int = 1, paper_counting: bool = False
) -> Complexity:
    """Run zeros through a model and count the multiply-adds of its convolutions and linear layers.

    Normalisation, activation, pooling, resizing and functional calls (``F.conv2d``) are not counted. On the device
    ``meta`` nothing is computed.

    Args:
        model: Called with one argument, (B, 3, H, W) images. Its mode and statistics are preserved.
        input_size: H, W of the images, px.
        batch_size: Images in the pass; multiply-adds grow with it, parameters do not.
        paper_counting: Count as the papers do: MBConv blocks and the authors' hourglass convolutions twice, transposed
            convolutions at their output size.

    Raises:
        ValueError: ``input_size`` is not a pair of positive numbers, ``batch_size`` is below 1, or the model
            has no parameters.
    """
    if len(input_size) != 2 or min(input_size) < 1:
        raise ValueError(f"input_size must be a positive height and width in px, got {tuple(input_size)}")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    first = next(model.parameters(), None)
    if first is None:
        raise ValueError(f"{type(model).__name__} has no parameters to count")
    images = torch.zeros((batch_size, 3, *input_size), device=first.device, dtype=first.dtype)
    layers = _run(model, images, paper_counting)
    parts = {}
    for name, child in model.named_children():
        params = _count_params(child, paper_counting)
        if params:
            macs = sum(layer.macs for layer in layers if layer.name.split(".")[0] == name)
            parts[name] = (params, macs)
    return Complexity(
        _count_params(model, paper_counting), sum(layer.macs for layer in layers), parts, layers
    )


def format_complexity(complexity: Complexity, with_layers: bool = False) -> str:
    """Return a table by part, after one by layer if ``with_layers``; the last line is the total."""
    lines = []
    if with_layers:
        width = max((len(layer.name) for layer in complexity.layers), default=4)
        lines.append(f"{'layer':<{width}}  {'kind':<16} {'output':<20} {'params':>11} {'multiply-adds':>15}")
        for layer in complexity.layers:
            shape = " x ".join(map(str, layer.output_shape))
            lines.append(
                f"{layer.name:<{width}}  {layer.kind:<16} {shape:<20} {layer.params:>11,} {layer.macs:>15,}"
            )
        lines.append("")
    lines.append(f"{'part':<18} {'params':>12} {'':>9} {'multiply-adds':>16}")
    rows = {**complexity.parts, "total": (complexity.params, complexity.macs)}
    for name, (params, macs) in rows.items():
        lines.append(f"{name:<18} {params:>12,} {params / 1e6:>7.3f} M {macs:>16,} {macs / 1e9:>8.3f} G")
    return "\n".join(lines)


def _run(model: nn.Module, images: Tensor, paper_counting: bool) -> list[LayerCount]:
    layers: list[LayerCount] = []
    names = {module: name for name, module in model.named_modules()}

    def record(layer: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        params = sum(p.numel() for p in layer.parameters())
        macs = _count_macs(layer, args[0], out, paper_counting)
        layers.append(LayerCount(names[layer], type(layer).__name__, tuple(out.shape), params, macs))

    hooks = [m.register_forward_hook(record) for m in model.modules() if isinstance(m, _COUNTED)]
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
        for module, training in modes.items():
            module.training = training
    return layers


def _count_macs(layer: nn.Module, x: Tensor, out: Tensor, paper_counting: bool) -> int:
    """Count each weight once per position of the output, or of the input of a transposed convolution."""
    weights = layer.weight.numel()
    if isinstance(layer, nn.Linear):
        return weights * x.numel() // x.shape[-1]
    if isinstance(layer, _TRANSPOSED) and not paper_counting:
        return weights * x.numel() // x.shape[1]
    return weights * out.numel() // out.shape[1]


def _count_params(module: nn.Module, paper_counting: bool) -> int:
    params = sum(p.numel() for p in module.parameters())
    if paper_counting:
        params += sum(_count_params(m, False) for m in module.modules() if _is_counted_twice(m))
    return params


def _is_counted_twice(module: nn.Module) -> bool:
    # Every convolution of the authors' hourglasses is in a wrapper; mmpose's form, with batch norms, has other classes.
    return isinstance(module, MBConv) or (isinstance(module, StackedHourglass) and not module.with_norm)
