"""CrowdPose: photos of crowds with 14 keypoints per person (Li et al., CVPR 2019)."""

from __future__ import annotations

from typing import ClassVar

from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.registry import DATASETS


@DATASETS.register_module()
class CrowdPoseDataset(CocoPoseDataset):
    """CrowdPose's JSON: COCO's format with 14 keypoints, a ``crowdIndex`` per photo and no areas.

    A person's area is 0.53 of the box, as in CrowdPose's own evaluation. A stored ``num_keypoints`` is kept: CrowdPose
    counts only visible keypoints. Items have ``crowd_index``, 0 (people do not overlap) to 1, if the JSON has it.

    Arguments, attributes and errors are those of CocoPoseDataset.
    """

    stored_counts: ClassVar[bool] = True
