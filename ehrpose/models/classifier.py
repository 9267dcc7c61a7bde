"""Image classifier: for pre-training a backbone, and for itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ehrpose.data_sample import LabelDataSample
from ehrpose.registry import MODELS
from ehrpose.torch_threads import before_torch_computes


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """Backbone with a classification head.

    Args:
        backbone: Config of an EfficientNet; its last map is classified.
        num_classes: Number of classes.
        lite: Use the head of EfficientNet-Lite.
        head: Further arguments of the head, such as ``loss`` and ``dropout``, or another ``type``.
        flip_test: Also classify the mirrored image, and average the probabilities.
        data_preprocessor: Config of the preprocessor.
        init_cfg: MMEngine's initialisation.
    """

    def __init__(
        self,
        backbone: Mapping,
        num_classes: int = 1000,
        lite: bool = False,
        head: Mapping | None = None,
        flip_test: bool = False,
        data_preprocessor: Mapping | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(MODELS.build(dict(data_preprocessor or {"type": "LabelPreprocessor"})), init_cfg)
        self.backbone = MODELS.build({"out_indices": (6,), **backbone})
        self.head = MODELS.build(
            {
                "type": "ClassificationHead",
                "in_channels": self.backbone.last_channels,
                "hidden_channels": self.backbone.head_channels,
                "num_classes": num_classes,
                "lite": lite,
                **(head or {}),
            }
        )
        self.flip_test = flip_test

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Return logits (``tensor``), losses (``loss``) or classes (``predict``).

        Args:
            inputs: (B, 3, H, W) normalised images.
            data_samples: For ``loss``: (B,) int64 labels, a list of them or of LabelDataSample, or (B, C) shares of the
                classes. For ``predict``: a list of LabelDataSample, which get ``pred_label`` and ``pred_scores``; None
                returns the (B,) classes alone.
            mode: ``"tensor"``, ``"loss"`` or ``"predict"``.

        Raises:
            ValueError: Unknown mode, or ``loss`` without labels.
        """
        before_torch_computes()
        if mode == "tensor":
            return self.head(self.backbone(inputs)[-1])
        if mode == "loss":
            return self.head.loss(self.backbone(inputs)[-1], labels_of(data_samples, inputs.device))
        if mode == "predict":
            return self._predict(inputs, data_samples)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got {mode!r}")

    @torch.no_grad()
    def probabilities(self, inputs: Tensor) -> Tensor:
        """Return the (B, C) probabilities of the classes."""
        found = self.head(self.backbone(inputs)[-1]).float().softmax(dim=1)
        if self.flip_test:
            mirrored = self.head(self.backbone(inputs.flip(3))[-1]).float().softmax(dim=1)
            found = (found + mirrored) / 2
        return found

    def _predict(self, inputs: Tensor, data_samples: Sequence[LabelDataSample] | None) -> Any:
        found = self.probabilities(inputs)
        if data_samples is None:
            return found.argmax(dim=1)
        for sample, scores in zip(data_samples, found.cpu().numpy()):
            sample.pred_scores, sample.pred_label = scores, int(scores.argmax())
        return list(data_samples)


def labels_of(data_samples: Any, device: torch.device) -> Tensor:
    """Return the labels of a batch on a device; see ``ImageClassifier.forward``.

    Raises:
        ValueError: There are none.
    """
    if isinstance(data_samples, Tensor):
        return data_samples.to(device)
    if data_samples is None or any("gt_label" not in s for s in data_samples if hasattr(s, "metainfo")):
        raise ValueError("mode 'loss' needs data_samples with labels: is PackLabel in the pipeline?")
    return torch.as_tensor([getattr(sample, "gt_label", sample) for sample in data_samples], device=device)
