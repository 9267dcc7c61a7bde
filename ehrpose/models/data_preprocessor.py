"""Conversion of collated items to the network's input; mean and std are defined only here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from ehrpose.registry import MODELS
from ehrpose.torch_threads import before_torch_computes


@MODELS.register_module()
class PosePreprocessor(BaseDataPreprocessor):
    """Move to the device, swap channels, normalise, stack.

    Args:
        mean: Per channel, 0 to 255, in the order after the swap.
        std: Per channel, positive.
        bgr_to_rgb: Swap the channels of the BGR input.
        channels_last: Return the input in channels-last memory format.
        non_blocking: Copy to the device asynchronously.

    Raises:
        ValueError: mean or std is not three numbers, or std is not positive.
    """

    def __init__(
        self,
        mean: Sequence[float] = (123.675, 116.28, 103.53),
        std: Sequence[float] = (58.395, 57.12, 57.375),
        bgr_to_rgb: bool = True,
        channels_last: bool = False,
        non_blocking: bool = False,
    ):
        super().__init__(non_blocking)
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean and std must be three numbers, std positive; got {mean} and {std}")
        self.bgr_to_rgb = bgr_to_rgb
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=torch.float32).view(3, 1, 1), persistent=False)

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare one batch.

        Args:
            data: ``inputs``: list of (3, H, W) uint8 images, or list of lists of them (one per test scale);
                ``data_samples``: list of PoseDataSample or None.
            training: Unused; all batches are prepared the same way.

        Returns:
            ``inputs``: (B, 3, H, W) float tensor if all shapes agree, else the list of (1, 3, H, W) tensors
            (multi-scale: list of lists); ``data_samples`` on the device.
        """
        before_torch_computes()
        data = self.cast_data(data)
        images = data["inputs"]
        if len(images) and isinstance(images[0], (list, tuple)):
            inputs: Any = [[self.normalize(scale[None]) for scale in item] for item in images]
        elif isinstance(images, Tensor) or len({tuple(image.shape) for image in images}) == 1:
            inputs = self.normalize(images if isinstance(images, Tensor) else torch.stack(tuple(images)))
        else:
            inputs = [self.normalize(image[None]) for image in images]
        return {"inputs": inputs, "data_samples": data.get("data_samples")}

    def normalize(self, images: Tensor) -> Tensor:
        """Return (B, 3, H, W) BGR images of 0 to 255 normalised for the network."""
        images = images.float()
        if self.bgr_to_rgb:
            images = images.flip(1)
        return ((images - self.mean) / self.std).contiguous(memory_format=self.memory_format)
