"""Training a pose network to hold what another network's maps hold, besides its own targets.

Source: FitNets, arXiv:1412.6550.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ehrpose.data_sample import PoseDataSample
from ehrpose.models.estimator import BottomUpEstimator
from ehrpose.registry import MODELS


@MODELS.register_module()
class DistilledEstimator(BottomUpEstimator):
    """A BottomUpEstimator with a teacher; in inference there is no difference.

    Two 1x1 convolutions on the neck's map predict the teacher's maps. They are stored below ``training_only``, which
    readers of checkpoints skip.

    Args:
        teacher: Config of the teacher, such as ``OnnxTeacher``.
        distillation_loss: Config of the loss; by default ``MapDistillationLoss``.
        fit_channels: Width between the two convolutions.
        kwargs: Arguments of BottomUpEstimator.

    Raises:
        ValueError: The neck has more than one map.
    """

    def __init__(
        self,
        teacher: Mapping,
        distillation_loss: Mapping | None = None,
        fit_channels: int = 64,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        width = self.neck.out_channels
        if not isinstance(width, int):
            raise ValueError(f"expected a neck with one map, got maps of {tuple(width)} channels")
        # In a list, so that it is neither trained nor stored.
        self._teacher = [MODELS.build(teacher)]
        self.distillation_loss = MODELS.build(distillation_loss or {"type": "MapDistillationLoss"})
        self.training_only = nn.ModuleDict(
            {
                "fit": nn.Sequential(
                    nn.Conv2d(width, fit_channels, 1),
                    nn.ReLU(),
                    nn.Conv2d(fit_channels, sum(self._teacher[0].channels), 1),
                )
            }
        )

    def losses(self, images: Tensor, data_samples: Sequence[PoseDataSample] | None) -> dict[str, Tensor]:
        """Return the head's losses and ``loss_teacher``."""
        features = self._features(images)
        losses = self._head_losses(features, data_samples)
        ours: Any = self.data_preprocessor
        pixels = images * ours.std + ours.mean
        with torch.no_grad():
            wanted = self._teacher[0](pixels if ours.bgr_to_rgb else pixels.flip(1))
        losses["loss_teacher"] = self.distillation_loss(self.training_only["fit"](features), wanted)
        return losses
