"""Training targets of a batch, drawn on the device of the loss from the points of ``codec.encode_points``.

Transferring heatmaps from the data loader's workers costs more than drawing them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ehrpose.codecs.heatmap import draw_gaussians


def collate_targets(
    codec: Any, targets: Sequence[Mapping[str, Tensor]], device: torch.device
) -> dict[str, Tensor]:
    """Return the batch of targets on ``device``, in the form of ``codec.encode``.

    Args:
        codec: The codec that made the targets.
        targets: Output of ``codec.encode`` or ``codec.encode_points`` for each image, as tensors.
        device: Device of the loss.
    """
    names = [name for name in targets[0] if name != "points"]
    batch = {name: torch.stack([t[name] for t in targets]).to(device) for name in names}
    if "points" not in targets[0]:
        return batch
    points = [t["points"].numpy() for t in targets]
    draw = _draw_on_cpu if device.type == "cpu" else scatter_gaussians
    for stride in codec.strides:
        batch[f"heat{stride}"] = draw(codec, points, stride, device)
    return batch


def _draw_on_cpu(codec: Any, points: Sequence[np.ndarray], stride: int, device: torch.device) -> Tensor:
    cells = codec.input_size // stride
    heatmaps = torch.zeros((len(points), codec.num_keypoints, cells, cells), device=device)
    for image, of_image in zip(heatmaps.numpy(), points):
        draw_gaussians(image, *codec.gaussians_on_map(of_image, stride))
    return heatmaps


def scatter_gaussians(codec: Any, points: Sequence[np.ndarray], stride: int, device: torch.device) -> Tensor:
    """Return the (B, K, S/s, S/s) float32 heatmaps of B images' ``points``, in one call for the whole batch."""
    cells, num_types = codec.input_size // stride, codec.num_keypoints
    found = [codec.gaussians_on_map(of_image, stride) for of_image in points]
    image = np.repeat(np.arange(len(points)), [len(types) for _, types, _ in found])
    positions = np.concatenate([positions for positions, _, _ in found])
    types = np.concatenate([types for _, types, _ in found])
    sigma = np.concatenate([np.broadcast_to(sigma, len(types)) for _, types, sigma in found])[:, None, None]
    # One window size for all, that of the widest; each Gaussian is cut off where ``draw_gaussians`` cuts it off.
    reach = np.ceil(3 * sigma).astype(np.int64) + 1
    radius = int(reach.max(initial=1))
    # (M, 2, P): the window's columns and rows, and the Gaussian along each.
    steps = np.arange(-radius, radius + 2)
    pixels = np.floor(positions).astype(np.int64)[..., None] + steps
    factors = np.exp(-((pixels - positions[..., None]) ** 2) / (2 * sigma**2)).astype(np.float32)
    near = (steps >= -reach) & (steps < reach + 2)
    inside = ((pixels >= 0) & (pixels < cells) & near).astype(np.float32)
    size = len(points) * num_types * cells**2
    starts = torch.from_numpy((image * num_types + types) * cells**2).to(device)
    at, value, kept = (torch.from_numpy(array).to(device) for array in (pixels, factors * inside, inside))
    index = starts[:, None, None] + at[:, 1, :, None] * cells + at[:, 0, None, :]
    # One extra element for what lies outside.
    index = torch.where((kept[:, 1, :, None] * kept[:, 0, None, :]) > 0, index, size)
    heatmaps = torch.zeros(size + 1, device=device)
    patches = value[:, 1, :, None] * value[:, 0, None, :]
    heatmaps.scatter_reduce_(0, index.reshape(-1), patches.reshape(-1), "amax")
    return heatmaps[:size].view(len(points), num_types, cells, cells)
