"""Container that accompanies an image through training, testing and drawing."""

from __future__ import annotations

from mmengine.structures import BaseDataElement, InstanceData

from ehrpose.structures import People

__all__ = ["LabelDataSample", "PoseDataSample"]


class PoseDataSample(BaseDataElement):
    """One image's ground truth and predictions, as an MMEngine data element.

    Fields:
        gt_instances: keypoints (N, K, 2) px, visible (N, K), bboxes (N, 4) xyxy, areas (N,).
        gt_targets: dict of the codec's training targets.
        pred_instances: keypoints (N, K, 2) photo px, keypoint_scores (N, K), bbox_scores (N,),
            bboxes (N, 4) xyxy; NumPy arrays.
    Meta: img_id, img_path, ori_shape (h, w), input_shape (h, w), warp (2, 3) photo to input.
    """

    @property
    def gt_instances(self) -> InstanceData:
        return self._gt_instances

    @gt_instances.setter
    def gt_instances(self, value: InstanceData) -> None:
        self.set_field(value, "_gt_instances", dtype=InstanceData)

    @gt_instances.deleter
    def gt_instances(self) -> None:
        del self._gt_instances

    @property
    def pred_instances(self) -> InstanceData:
        return self._pred_instances

    @pred_instances.setter
    def pred_instances(self, value: InstanceData) -> None:
        self.set_field(value, "_pred_instances", dtype=InstanceData)

    @pred_instances.deleter
    def pred_instances(self) -> None:
        del self._pred_instances

    @property
    def gt_targets(self) -> dict:
        return self._gt_targets

    @gt_targets.setter
    def gt_targets(self, value: dict) -> None:
        self.set_field(value, "_gt_targets", dtype=dict)

    @gt_targets.deleter
    def gt_targets(self) -> None:
        del self._gt_targets

    def people(self) -> People:
        """Return the predictions, in photo pixels."""
        found = self.pred_instances
        return People(found.keypoints, found.keypoint_scores, found.bbox_scores)


class LabelDataSample(BaseDataElement):
    """One image's class and what a classifier says of it, as an MMEngine data element.

    Fields:
        gt_label: Index of the class.
        pred_label: Index of the likeliest class.
        pred_scores: (C,) float32 probabilities, NumPy.
    Meta: img_id, img_path, ori_shape (h, w), input_shape (h, w), warp (2, 3) photo to input, bad_image.
    """
