"""Image classifier for pre-training a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from ehrpose.registry import MODELS


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """Backbone with a classification head.

    Args:
        backbone: Config of an EfficientNet; its last map is classified.
        num_classes: Number of classes.
        lite: Use the head of EfficientNet-Lite.
        data_preprocessor: Config of the preprocessor.
        init_cfg: MMEngine's initialisation.
    """

    def __init__(
        self,
        backbone: Mapping,
        num_classes: int = 1000,
        lite: bool = False,
        data_preprocessor: Mapping | None = None,
        init_cfg: dict | None = None,
    ):
        super().__init__(MODELS.build(dict(data_preprocessor or {"type": "PosePreprocessor"})), init_cfg)
        self.backbone = MODELS.build({"out_indices": (6,), **backbone})
        self.head = MODELS.build(
            {
                "type": "ClassificationHead",
                "in_channels": self.backbone.last_channels,
                "hidden_channels": self.backbone.head_channels,
                "num_classes": num_classes,
                "lite": lite,
            }
        )

    def forward(self, inputs: Tensor, data_samples: Any = None, mode: str = "tensor") -> Any:
        """Return logits (``tensor``), losses (``loss``; labels in ``data_samples``) or classes (``predict``).

        Args:
            inputs: (B, 3, H, W) normalised images.
            data_samples: (B,) int64 labels, or a list of them, for ``loss``.
            mode: ``"tensor"``, ``"loss"`` or ``"predict"``.
        """
        features = self.backbone(inputs)[-1]
        if mode == "tensor":
            return self.head(features)
        if mode == "loss":
            labels = torch.as_tensor(data_samples, device=inputs.device)
            return self.head.loss(features, labels)
        if mode == "predict":
            return self.head(features).argmax(dim=1)
        raise ValueError(f"mode must be 'tensor', 'loss' or 'predict', got {mode!r}")
