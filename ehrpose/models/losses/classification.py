"""Losses of classes: against labels, against soft labels, and against another network's answer."""

from __future__ import annotations

from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from ehrpose.registry import MODELS


@MODELS.register_module()
class ClassLoss(BaseModule):
    """Cross entropy in float32, of images or of the pixels of maps.

    Args:
        label_smoothing: Share of each label that is spread over all classes, 0 to below 1. Source: arXiv:1512.00567.
        weight: Weight of the loss.

    Raises:
        ValueError: A value is out of range.
    """

    def __init__(self, label_smoothing: float = 0.0, weight: float = 1.0):
        super().__init__()
        if not 0 <= label_smoothing < 1 or weight < 0:
            raise ValueError(
                f"expected label_smoothing from 0 to below 1 and weight from 0, got {label_smoothing} and {weight}"
            )
        self.label_smoothing, self.weight = label_smoothing, weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss.

        Args:
            logits: (B, C) or (B, C, h, w).
            labels: int64 without the axis C, or float32 of the same shape as ``logits``: shares of the classes.
        """
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self.label_smoothing)
        return self.weight * loss


@MODELS.register_module()
class LogitDistillationLoss(BaseModule):
    """Kullback-Leibler divergence of a student's classes from its teacher's, both softened.

    Source: Hinton et al., arXiv:1503.02531.

    Args:
        temperature: Divides the logits, positive; the loss is multiplied by its square.
        weight: Weight of the loss.

    Raises:
        ValueError: ``temperature`` is not positive.
    """

    def __init__(self, temperature: float = 2.0, weight: float = 1.0):
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, got {temperature}")
        self.temperature, self.weight = temperature, weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean loss of two (B, C) logits."""
        ours = F.log_softmax(student.float() / self.temperature, dim=1)
        theirs = F.log_softmax(teacher.float() / self.temperature, dim=1)
        divergence = F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return self.weight * self.temperature**2 * divergence


@MODELS.register_module()
class FeatureDistillationLoss(BaseModule):
    """Squared error of a student's map and its teacher's, both normalised over the channels of each pixel.

    Args:
        weight: Weight of the loss.
    """

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight = weight

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean over the pixels of two (B, C, h, w) maps; the student's is resized to the teacher's."""
        if student.shape[-2:] != teacher.shape[-2:]:
            student = F.interpolate(student, teacher.shape[-2:], mode="bilinear", align_corners=False)
        ours, theirs = F.normalize(student.float(), dim=1), F.normalize(teacher.float(), dim=1)
        return self.weight * (ours - theirs).square().sum(dim=1).mean()
