"""The last transform: from a dict of arrays to the model's arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmengine.structures import InstanceData
from torch import Tensor

from ehrpose.data_sample import LabelDataSample, PoseDataSample
from ehrpose.registry import TRANSFORMS

META_KEYS = (
    *("img_id", "img_path", "ori_shape", "input_shape", "warp", "flip"),
    *("raw_anns", "bad_image", "crowd_index"),
)
LABEL_META_KEYS = ("img_id", "img_path", "ori_shape", "input_shape", "warp", "flip", "bad_image")


@TRANSFORMS.register_module()
class PackPose(BaseTransform):
    """Pack an item into ``inputs`` and ``data_samples``.

    ``inputs`` is a (3, H, W) uint8 BGR tensor, or a list of them, one per test scale. ``data_samples`` is a
    PoseDataSample with ``gt_instances`` (keypoints, visible, bboxes, areas; input px after BottomUpAffine,
    photo px after BottomUpResize, like predictions), ``gt_targets`` (dict of tensors) after EncodeTargets, and
    those of ``meta_keys`` that the item has, without ``raw_anns``, which only metrics read, if there are targets.
    ``ori_shape`` is (height, width) of the photo, ``input_shape`` that of the input at scale 1, ``bad_image`` the
    reason why a photo was replaced by a grey image, ``crowd_index`` how crowded a photo of CrowdPose is.

    Args:
        meta_keys: Names of the metadata to keep.
    """

    def __init__(self, meta_keys: Sequence[str] = META_KEYS):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        image = results["img"]
        scales = image if isinstance(image, list) else [image]
        sample = PoseDataSample()
        if "keypoints" in results:
            sample.gt_instances = InstanceData(
                keypoints=results["keypoints"],
                visible=results["visible"],
                bboxes=results["bbox"],
                areas=results["area"],
            )
        if "targets" in results:
            sample.gt_targets = {name: torch.from_numpy(array) for name, array in results["targets"].items()}
        known = {
            "ori_shape": (results["height"], results["width"]),
            "input_shape": scales[0].shape[:2],
            "warp": np.eye(2, 3),
            "flip": False,
            **results,
        }
        # Annotations are long lists, which training would copy and send between processes for nothing.
        unused = {"raw_anns"} if "targets" in results else set()
        sample.set_metainfo({key: known[key] for key in self.meta_keys if key in known and key not in unused})
        tensors = [_to_tensor(scale) for scale in scales]
        return {"inputs": tensors if isinstance(image, list) else tensors[0], "data_samples": sample}


@TRANSFORMS.register_module()
class PackLabel(BaseTransform):
    """Pack an item of a classifier into ``inputs``, (3, H, W) uint8 BGR, and ``data_samples``, a LabelDataSample.

    Args:
        meta_keys: Names of the metadata to keep.
    """

    def __init__(self, meta_keys: Sequence[str] = LABEL_META_KEYS):
        self.meta_keys = tuple(meta_keys)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        sample = LabelDataSample()
        if "gt_label" in results:
            sample.gt_label = int(results["gt_label"])
        shape = results["img"].shape[:2]
        known = {"ori_shape": shape, "input_shape": shape, "warp": np.eye(2, 3), **results}
        if "height" in results:
            known["ori_shape"] = (results["height"], results["width"])
        sample.set_metainfo({key: known[key] for key in self.meta_keys if key in known})
        return {"inputs": _to_tensor(results["img"]), "data_samples": sample}


def _to_tensor(image: np.ndarray) -> Tensor:
    planes = np.empty((image.shape[2], *image.shape[:2]), image.dtype)
    parts = cv2.split(image, list(planes))  # several times faster than copying the transposed array
    if not np.may_share_memory(parts[0], planes):  # OpenCV allocated its own arrays
        planes = np.stack(parts)
    return torch.from_numpy(planes)
