"""Networks, losses and weights; each part is imported on first use, here or through the registry MODELS."""

from typing import TYPE_CHECKING

import ehrpose.models.weights.checkpoint  # noqa: F401  (``Pretrained`` that loads plain data replaces MMEngine's)
from ehrpose.lazy import lazy_attributes

if TYPE_CHECKING:  # static types of the names that __getattr__ loads
    from ehrpose.models.backbones import EfficientNet, EfficientNetLite
    from ehrpose.models.backbones.hourglass import StackedHourglass
    from ehrpose.models.backbones.hrnet import HRNet
    from ehrpose.models.backbones.litepose import LitePose
    from ehrpose.models.backbones.mobilenet_v1 import MobileNetV1
    from ehrpose.models.backbones.mobilenet_v2 import MobileNetV2
    from ehrpose.models.backbones.resnet import ResNet
    from ehrpose.models.classifier import ImageClassifier
    from ehrpose.models.data_preprocessor import PosePreprocessor
    from ehrpose.models.distillation import DistilledClassifier
    from ehrpose.models.distilled_estimator import DistilledEstimator
    from ehrpose.models.estimator import BottomUpEstimator
    from ehrpose.models.heads import AEHead, ClassificationHead, SingleLevelAEHead
    from ehrpose.models.heads.fusion_deconv_head import FusionDeconvHead
    from ehrpose.models.heads.personlab_head import PersonLabHead
    from ehrpose.models.heads.segmentation import SegmentationHead
    from ehrpose.models.label_preprocessor import LabelPreprocessor
    from ehrpose.models.losses import AELoss, HeatmapLoss, SideLoss
    from ehrpose.models.losses.classification import (
        ClassLoss,
        FeatureDistillationLoss,
        LogitDistillationLoss,
    )
    from ehrpose.models.losses.map_distillation import MapDistillationLoss
    from ehrpose.models.necks import HighResolutionNeck, TopDownNeck
    from ehrpose.models.necks.deconv import DeconvNeck
    from ehrpose.models.necks.pass_through import PassThroughNeck
    from ehrpose.models.scaling import CompoundScaling, compound_scaling
    from ehrpose.models.teachers import OnnxTeacher
    from ehrpose.models.weights.checkpoint import load_checkpoint, load_pretrained, read_state_dict

__all__ = [
    "AEHead",
    "AELoss",
    "BottomUpEstimator",
    "ClassLoss",
    "ClassificationHead",
    "CompoundScaling",
    "DeconvNeck",
    "DistilledClassifier",
    "DistilledEstimator",
    "EfficientNet",
    "EfficientNetLite",
    "FeatureDistillationLoss",
    "FusionDeconvHead",
    "HRNet",
    "HeatmapLoss",
    "HighResolutionNeck",
    "ImageClassifier",
    "LabelPreprocessor",
    "LitePose",
    "LogitDistillationLoss",
    "MapDistillationLoss",
    "MobileNetV1",
    "MobileNetV2",
    "OnnxTeacher",
    "PassThroughNeck",
    "PersonLabHead",
    "PosePreprocessor",
    "ResNet",
    "SegmentationHead",
    "SideLoss",
    "SingleLevelAEHead",
    "StackedHourglass",
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
            "HRNet": "ehrpose.models.backbones.hrnet",
            "LitePose": "ehrpose.models.backbones.litepose",
            "MobileNetV1": "ehrpose.models.backbones.mobilenet_v1",
            "MobileNetV2": "ehrpose.models.backbones.mobilenet_v2",
            "ResNet": "ehrpose.models.backbones.resnet",
            "StackedHourglass": "ehrpose.models.backbones.hourglass",
            "FusionDeconvHead": "ehrpose.models.heads.fusion_deconv_head",
            "DeconvNeck": "ehrpose.models.necks.deconv",
            "PersonLabHead": "ehrpose.models.heads.personlab_head",
            "PassThroughNeck": "ehrpose.models.necks.pass_through",
            "ImageClassifier": "ehrpose.models.classifier",
            "DistilledClassifier": "ehrpose.models.distillation",
            "DistilledEstimator": "ehrpose.models.distilled_estimator",
            "OnnxTeacher": "ehrpose.models.teachers",
            "LabelPreprocessor": "ehrpose.models.label_preprocessor",
            "SegmentationHead": "ehrpose.models.heads.segmentation",
            "ClassLoss": "ehrpose.models.losses.classification",
            "FeatureDistillationLoss": "ehrpose.models.losses.classification",
            "LogitDistillationLoss": "ehrpose.models.losses.classification",
            "PosePreprocessor": "ehrpose.models.data_preprocessor",
            "BottomUpEstimator": "ehrpose.models.estimator",
            "AEHead": "ehrpose.models.heads",
            "ClassificationHead": "ehrpose.models.heads",
            "SingleLevelAEHead": "ehrpose.models.heads",
            "AELoss": "ehrpose.models.losses",
            "HeatmapLoss": "ehrpose.models.losses",
            "MapDistillationLoss": "ehrpose.models.losses.map_distillation",
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
