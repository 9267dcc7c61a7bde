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
