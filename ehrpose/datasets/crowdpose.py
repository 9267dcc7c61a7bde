"""CrowdPose: photos of crowds with 14 keypoints per person (Li et al., CVPR 2019)."""

from __future__ import annotations

from typing import ClassVar

from ehrpose.datasets.coco import CocoPoseDataset
from ehrpose.oks import AREA_OF_BOX
from ehrpose.registry import DATASETS


@DATASETS.register_module()
class CrowdPoseDataset(CocoPoseDataset):
    """CrowdPose's JSON: COCO's format with 14 keypoints, a ``crowdIndex`` per photo and no areas.

    A person's area is 0.53 of the box, as in CrowdPose's own evaluation. Items have ``crowd_index``, 0 (people do not
    overlap) to 1, if the JSON has it.

    Arguments, attributes and errors are those of CocoPoseDataset.
    """

    area_of_box: ClassVar[float | None] = AREA_OF_BOX
