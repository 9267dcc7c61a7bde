"""Labels in and out: one registry of formats, each read into a LabelSet and written from one."""

from ehrpose.labels import coco, cvat, deeplabcut, label_studio, labelme, predictions, sleap, yolo  # registers formats
from ehrpose.labels.detect import detect_format, read_labels
from ehrpose.labels.label_format import LabelFormat
from ehrpose.labels.label_set import LabelSet
from ehrpose.registry import LABEL_FORMATS

__all__ = ["LABEL_FORMATS", "LabelFormat", "LabelSet", "detect_format", "read_labels"]
