"""Labels in and out: one registry of formats, each read into a LabelSet and written from one."""

from ehrpose.labels.coco import CocoLabels
from ehrpose.labels.cvat import CvatLabels
from ehrpose.labels.deeplabcut import DeepLabCutLabels
from ehrpose.labels.detect import detect_format, find_format, read_labels
from ehrpose.labels.label_format import LabelFormat
from ehrpose.labels.label_set import LabelSet
from ehrpose.labels.label_studio import LabelStudioLabels
from ehrpose.labels.labelme import LabelmeLabels
from ehrpose.labels.predictions import Predictions
from ehrpose.labels.sleap import SleapLabels
from ehrpose.labels.yolo import YoloLabels
from ehrpose.registry import LABEL_FORMATS

__all__ = [
    "LABEL_FORMATS", "CocoLabels", "CvatLabels", "DeepLabCutLabels", "LabelFormat", "LabelSet", "LabelStudioLabels",
    "LabelmeLabels", "Predictions", "SleapLabels", "YoloLabels", "detect_format", "find_format", "read_labels",
]  # fmt: skip
