"""Training a small classifier to answer like a large one, on photos without labels.

Source: Hinton et al., arXiv:1503.02531; for features, FitNets, arXiv:1412.6550.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ehrpose.models.classifier import ImageClassifier
from ehrpose.registry import MODELS


@MODELS.register_module()
class DistilledClassifier(ImageClassifier):
    """A student, described as an ImageClassifier, and a teacher that stays as it is.

    Checkpoints have the student alone, and are those of an ImageClassifier but for ``fit``, the convolution between the
    widths. Labels are not used.

    Args:
        teacher: Config of an ImageClassifier with the same classes, with ``init_cfg`` for its weights.
        logit_loss: Config of the loss of the classes; None: none.
        feature_loss: Config of the loss of the backbones' last maps, after a 1x1 convolution that fits their widths;
            None: none.
        teacher_mean: Mean of the teacher's input, 0 to 255, three numbers; None: the student's.
        teacher_std: Standard deviation of the teacher's input; None: the student's.
        kwargs: Arguments of ImageClassifier, for the student.

    Raises:
        ValueError: There is no loss, or the two have different classes.
    """

    def __init__(
        self,
        teacher: Mapping,
        logit_loss: Mapping | None = None,
        feature_loss: Mapping | None = None,
        teacher_mean: Sequence[float] | None = None,
        teacher_std: Sequence[float] | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if logit_loss is None and feature_loss is None:
            raise ValueError("expected logit_loss, feature_loss or both, got neither")
        large = MODELS.build({"type": "ImageClassifier", **teacher})
        if logit_loss is not None and large.head.num_classes != self.head.num_classes:
            raise ValueError(
                f"the teacher has {large.head.num_classes} classes and the student {self.head.num_classes}: set "
                "num_classes alike, or use feature_loss alone"
            )
        # In a list, so that it is neither trained nor stored.
        self._teacher = [large.eval().requires_grad_(False)]
        self._teacher_norm = (teacher_mean, teacher_std)
        self.logit_loss: Any = None if logit_loss is None else MODELS.build(logit_loss)
        self.feature_loss: Any = None if feature_loss is None else MODELS.build(feature_loss)
        if feature_loss is not None:
            self.fit = nn.Conv2d(self.backbone.last_channels, large.backbone.last_channels, 1)

    def init_weights(self) -> None:
        """Initialise the student, and load the teacher."""
        super().init_weights()
        self._teacher[0].init_weights()

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Return the losses against the teacher (``loss``); otherwise see ImageClassifier."""
        if mode != "loss":
            return super().forward(inputs, data_samples, mode)
        features = self.backbone(inputs)[-1]
        with torch.no_grad():
            teacher = self._teacher[0].to(inputs.device)
            wanted = teacher.backbone(self._for_teacher(inputs))[-1]
            answer = None if self.logit_loss is None else teacher.head(wanted)
        losses = {}
        if self.logit_loss is not None:
            losses["loss_logits"] = self.logit_loss(self.head(features), answer)
        if self.feature_loss is not None:
            losses["loss_features"] = self.feature_loss(self.fit(features), wanted)
        return losses

    def _for_teacher(self, inputs: Tensor) -> Tensor:
        """Return images that are normalised for the student, as the teacher expects them."""
        ours: Any = self.data_preprocessor
        mean, std = (
            own if given is None else torch.tensor(given, device=inputs.device).view(3, 1, 1)
            for given, own in zip(self._teacher_norm, (ours.mean, ours.std))
        )
        return (inputs * ours.std + ours.mean - mean) / std
