from ehrpose.evaluation.accuracy_metric import AccuracyMetric
from ehrpose.evaluation.coco_metric import CocoMetric
from ehrpose.evaluation.crowdpose_metric import CrowdPoseMetric

__all__ = ["AccuracyMetric", "CocoMetric", "CrowdPoseMetric"]
