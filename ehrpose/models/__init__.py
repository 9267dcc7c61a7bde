"""Networks, losses and weights; each part is imported on first use, here or through the registry MODELS."""

from typing import TYPE_CHECKING

import ehrpose.models.weights.checkpoint  # noqa: F401  (``Pretrained`` that loads plain data replaces MMEngine's)
from ehrpose.lazy import lazy_attributes

if TYPE_CHECKING:  # static types of the names that __getattr__ loads
    from ehrpose.models.backbones import EfficientNet, EfficientNetLite
    from ehrpose.models.classifier import ImageClassifier
    from ehrpose.models.data_preprocessor import PosePreprocessor
    from ehrpose.models.estimator import BottomUpEstimator
    from ehrpose.models.heads import AEHead, ClassificationHead, SingleLevelAEHead
    from ehrpose.models.losses import AELoss, HeatmapLoss, SideLoss
    from ehrpose.models.necks import HighResolutionNeck, TopDownNeck
    from ehrpose.models.scaling import CompoundScaling, compound_scaling
    from ehrpose.models.weights.checkpoint import load_checkpoint, load_pretrained, read_state_dict

__all__ = [
    "AEHead",
    "AELoss",
    "BottomUpEstimator",
    "ClassificationHead",
    "CompoundScaling",
    "EfficientNet",
    "EfficientNetLite",
    "HeatmapLoss",
    "HighResolutionNeck",
    "ImageClassifier",
    "PosePreprocessor",
    "SideLoss",
    "SingleLevelAEHead",
    "TopDownNeck",
    "compound_scaling",
    "load_checkpoint",
    "load_pretrained",
    "read_state_dict",
]

if not TYPE_CHECKING:  # otherwise a type checker would accept any name
    __getattr__ = lazy_attributes(
        __name__,
        {
            "EfficientNet": "ehrpose.models.backbones",
            "EfficientNetLite": "ehrpose.models.backbones",
            "ImageClassifier": "ehrpose.models.classifier",
            "PosePreprocessor": "ehrpose.models.data_preprocessor",
            "BottomUpEstimator": "ehrpose.models.estimator",
            "AEHead": "ehrpose.models.heads",
            "ClassificationHead": "ehrpose.models.heads",
            "SingleLevelAEHead": "ehrpose.models.heads",
            "AELoss": "ehrpose.models.losses",
            "HeatmapLoss": "ehrpose.models.losses",
            "SideLoss": "ehrpose.models.losses",
            "HighResolutionNeck": "ehrpose.models.necks",
            "TopDownNeck": "ehrpose.models.necks",
            "CompoundScaling": "ehrpose.models.scaling",
            "compound_scaling": "ehrpose.models.scaling",
            "load_checkpoint": "ehrpose.models.weights.checkpoint",
            "load_pretrained": "ehrpose.models.weights.checkpoint",
            "read_state_dict": "ehrpose.models.weights.checkpoint",
        },
    )
