"""CrowdPose metrics: COCO keypoint AP, and AP by crowdedness of the image (Li et al., CVPR 2019)."""

from __future__ import annotations

from typing import Any, ClassVar

from ehrpose.evaluation.coco_eval import evaluate
from ehrpose.evaluation.coco_metric import CocoMetric
from ehrpose.oks import AREA_OF_BOX
from ehrpose.registry import METRICS

_NUMBERS = ("AP", "AP50", "AP75", "AR", "AR50", "AR75")


@METRICS.register_module()
class CrowdPoseMetric(CocoMetric):
    """CrowdPose AP and AR, with AP_E, AP_M and AP_H for easy, medium and hard images.

    As in CrowdPose's evaluation, this differs from COCO's in two ways: a person's area is 0.53 of the box, and people
    whose ``num_keypoints`` (only visible keypoints, in CrowdPose's JSON) is 0 do not count.

    Images with a ``crowdIndex`` below 0.2 are easy, from 0.8 hard: the limits of CrowdPose's published code, which
    papers use (CrowdPose's own paper states 0.1 and 0.8). A group without people gets -1.

    The arguments are those of CocoMetric. The crowd index comes from ``ann_file`` or from the samples.

    Raises:
        ValueError: As in CocoMetric; also if an image has no crowd index.
    """

    default_prefix = "crowdpose"
    stored_counts: ClassVar[bool] = True
    # Upper limits of the crowd index, exclusive.
    groups: ClassVar[dict[str, float]] = {"E": 0.2, "M": 0.8, "H": float("inf")}

    def _image(self, sample: dict) -> dict[str, Any]:
        image = super()._image(sample)
        if "crowd_index" in sample:
            image["crowdIndex"] = sample["crowd_index"]
        return image

    def _complete(self, truth: dict) -> dict:
        people = [{**a, "area": AREA_OF_BOX * a["bbox"][2] * a["bbox"][3]} for a in truth["annotations"]]
        return {**truth, "annotations": people}

    def _numbers(self, truth: dict, detections: list[dict]) -> dict[str, float]:
        missing = [image["id"] for image in truth["images"] if "crowdIndex" not in image]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(truth['images'])} images have no crowdIndex, for example {missing[0]}: "
                f"CrowdPoseMetric needs CrowdPose's JSON, through CrowdPoseDataset or as ann_file"
            )
        numbers = super()._numbers(truth, detections)
        numbers = {name: numbers[name] for name in _NUMBERS}
        lower = float("-inf")
        for name, upper in self.groups.items():
            selected = {i["id"] for i in truth["images"] if lower <= i["crowdIndex"] < upper}
            part = {
                **truth,
                "images": [image for image in truth["images"] if image["id"] in selected],
                "annotations": [a for a in truth["annotations"] if a["image_id"] in selected],
            }
            found = [d for d in detections if d["image_id"] in selected]
            numbers[f"AP_{name}"] = self._average_precision(part, found)
            lower = upper
        return numbers

    def _average_precision(self, truth: dict, detections: list[dict]) -> float:
        return evaluate(truth, detections, self.meta.sigmas, self.use_fast_eval, self.max_dets)["AP"]
