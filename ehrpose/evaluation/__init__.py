from ehrpose.evaluation.coco_metric import CocoMetric
from ehrpose.evaluation.crowdpose_metric import CrowdPoseMetric

__all__ = ["CocoMetric", "CrowdPoseMetric"]
