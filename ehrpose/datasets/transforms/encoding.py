"""Training targets, encoded entirely by the codec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmcv.transforms import BaseTransform

from ehrpose.registry import TRANSFORMS, build_codec


@TRANSFORMS.register_module()
class EncodeTargets(BaseTransform):
    """Store ``codec.encode(keypoints, visible, loss_mask)`` in ``targets``, a dict of arrays.

    A codec with ``oks_sigma`` also receives the people's ``area``.

    Args:
        codec: The codec or its config.
        heatmaps: False omits the heatmaps (``codec.encode_points``); the model draws them where the loss is computed,
            which saves transferring megabytes per photo between processes.

    Raises:
        ValueError: From the transform: the image does not have the codec's input size, or the keypoints were not
            warped with it.
    """

    def __init__(self, codec: Mapping | Any, heatmaps: bool = False):
        self.heatmaps = heatmaps
        self.codec = build_codec(codec)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        side = self.codec.input_size
        image = results["img"]
        if results.get("labels_in_photo") or isinstance(image, list) or image.shape[:2] != (side, side):
            raise ValueError(
                f"EncodeTargets needs a {side} x {side} px image with keypoints in its pixels; put BottomUpAffine "
                f"before it"
            )
        # A custom codec may lack the short form.
        short = None if self.heatmaps else getattr(self.codec, "encode_points", None)
        encode = short or self.codec.encode
        more = {"areas": results.get("area")} if getattr(self.codec, "oks_sigma", 0) else {}
        results["targets"] = encode(
            results["keypoints"], results["visible"], results.get("loss_mask"), **more
        )
        return results
