"""Conversion of a batch of labelled images to the network's input, with mixing of the images in training."""

from __future__ import annotations

import math
import random
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from ehrpose.models.classifier import labels_of
from ehrpose.models.data_preprocessor import PosePreprocessor
from ehrpose.registry import MODELS


@MODELS.register_module()
class LabelPreprocessor(PosePreprocessor):
    """Move to the device, swap channels, normalise, stack; in training mix each image with another one of the batch.

    Source: mixup, arXiv:1710.09412; CutMix, arXiv:1905.04899. A batch draws one share from Beta(alpha, alpha).

    Args:
        mixup: Alpha of mixup, which blends images; 0: none.
        cutmix: Alpha of CutMix, which pastes rectangles; 0: none. With both, each batch draws one of them.
        num_classes: Number of classes, needed to mix labels.
        kwargs: Arguments of PosePreprocessor: ``mean``, ``std``, ``bgr_to_rgb``, ...

    Raises:
        ValueError: A value is negative, or images are mixed without ``num_classes``.
    """

    def __init__(
        self, mixup: float = 0.0, cutmix: float = 0.0, num_classes: int | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        if mixup < 0 or cutmix < 0:
            raise ValueError(f"mixup and cutmix must be at least 0, got {mixup} and {cutmix}")
        if (mixup or cutmix) and not num_classes:
            raise ValueError("mixup and cutmix need num_classes of the preprocessor")
        self.mixup, self.cutmix, self.num_classes = mixup, cutmix, num_classes

    def forward(self, data: dict[str, Any], training: bool = False) -> dict[str, Any]:
        """Prepare one batch; with mixing, ``data_samples`` become (B, num_classes) float32 shares.

        Args:
            data: ``inputs``: (3, H, W) uint8 images; ``data_samples``: LabelDataSample of each, or None.
            training: Mix the images.
        """
        batch = super().forward(data, training)
        kinds = [(a, mix) for a, mix in ((self.mixup, _blend), (self.cutmix, _paste)) if a]
        if not training or not kinds:
            return batch
        alpha, mix = random.choice(kinds)
        images, labels = batch["inputs"], labels_of(batch["data_samples"], batch["inputs"].device)
        mixed, share = mix(images, random.betavariate(alpha, alpha))
        own = F.one_hot(labels, self.num_classes or 0).float()
        return {"inputs": mixed, "data_samples": share * own + (1 - share) * own.flip(0)}


def _blend(images: Tensor, share: float) -> tuple[Tensor, float]:
    """Return each image blended with the one at its place from the end, and its own share."""
    return images * share + images.flip(0) * (1 - share), share


def _paste(images: Tensor, share: float) -> tuple[Tensor, float]:
    """Return each image with a rectangle of the one at its place from the end, and its own share."""
    height, width = images.shape[-2:]
    high, wide = (round(side * math.sqrt(1 - share)) for side in (height, width))
    top, left = random.randint(0, height - high), random.randint(0, width - wide)
    mixed = images.clone()
    mixed[..., top : top + high, left : left + wide] = images.flip(0)[
        ..., top : top + high, left : left + wide
    ]
    return mixed, 1 - high * wide / (height * width)
