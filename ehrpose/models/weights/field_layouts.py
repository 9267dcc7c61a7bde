"""Names of the published weights of networks without tags: Lightweight OpenPose and PoseNet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

Tensors = Mapping[str, Tensor]

# ---- Lightweight OpenPose

OPENPOSE_PARTS, OPENPOSE_LIMBS = 18, 19  # COCO's 17 keypoints and a neck


def _refinement_stage(name: str) -> int:
    """Return the refinement stage that a tensor belongs to, from 0; -1: to none."""
    match = re.match(r"refinement_stages\.(\d+)\.", name)
    return int(match[1]) if match else -1


def kept_stages(tensors: Tensors, found: int, asked: int | None) -> tuple[int, tuple[str, ...]]:
    """Return how many of the refinement stages are kept, one unless asked otherwise, and the tensors of the others.

    Raises:
        ValueError: There are not as many.
    """
    kept = 1 if asked is None else asked
    if not 1 <= kept <= found:
        raise ValueError(
            f"`refinements`: expected 1 to {found}, the refinement stages in the file, got {kept}"
        )
    return kept, tuple(name for name in tensors if _refinement_stage(name) >= kept)


def openpose_name(name: str, sizes: dict[str, Any]) -> str:
    """Return the author's name of a tensor of ours."""
    part, name = name.split(".", 1)
    if part == "backbone":
        name = re.sub(r"^blocks\.(\d+)", lambda m: f"model.{int(m[1]) + 1}", name)
        for ours, theirs in (("stem", "model.0"), ("align", "cpm.align"), ("context", "cpm.trunk"),
                             ("output", "cpm.conv")):  # fmt: skip
            name = re.sub(rf"^{ours}\.", f"{theirs}.", name)
        return name
    name = re.sub(r"\.trunk\.(\d)\.trunk\.([0134])", lambda m: f".trunk.{m[1]}.trunk.{int(m[2]) // 3}.{int(m[2]) % 3}",
                  name)  # fmt: skip
    output = re.search(r"\.outputs\.(heat|field)\.([02])", name)
    if output:
        theirs = {"heat": "heatmaps", "field": "pafs"}[output[1]]
        name = name.replace(output[0], f".{theirs}.{int(output[2]) // 2}.0", 1)
    return name


def openpose_sizes(tensors: Tensors) -> dict[str, Any]:
    """Return the number of keypoints and of refinement stages of Lightweight OpenPose's tensors.

    Raises:
        ValueError: They are for another skeleton than COCO's.
    """
    rows = tensors[OPENPOSE_OUTPUT].shape[0]
    if rows != OPENPOSE_PARTS + 1:
        raise ValueError(
            f"{OPENPOSE_OUTPUT} has {rows} rows, expected {OPENPOSE_PARTS + 1}: 18 parts of COCO's people and the "
            "background"
        )
    stages = {stage for stage in map(_refinement_stage, tensors) if stage >= 0}
    return {"num_keypoints": 17, "num_refinements": len(stages)}


def openpose_parts(sizes: dict[str, Any]) -> tuple[dict, dict, dict]:
    """Return the configs of backbone, neck and head of Lightweight OpenPose."""
    head = {"type": "PartAffinityHead", "num_refinements": sizes["num_refinements"]}
    return {"type": "LightweightOpenPose"}, {"type": "PassThroughNeck", "stride": 8}, head


OPENPOSE_OUTPUT = "initial_stage.heatmaps.1.0.weight"

# ---- PoseNet, in the form in which ``tflite.network_tensors`` returns its files

POSENET_SEEN = "PoseNet on MobileNetV1, dequantised from TensorFlow Lite"
_POSENET_HEADS = {"heat": "heatmap_2", "short": "offset_2", "mid_forward": "displacement_fwd_2",
                  "mid_backward": "displacement_bwd_2"}  # fmt: skip


def posenet_name(name: str, sizes: dict[str, Any]) -> str:
    """Return TensorFlow's name of a tensor of ours."""
    match = re.match(r"backbone\.blocks\.(\d+)\.(depthwise|pointwise)\.conv\.(weight|bias)", name)
    if match:
        return f"Conv2d_{int(match[1]) + 1}_{match[2]}.{match[3]}"
    part, layer, rest = name.split(".", 2)
    return f"{_POSENET_HEADS[layer]}.{rest}" if part == "head" else f"Conv2d_0.{rest.removeprefix('conv.')}"


def posenet_sizes(tensors: Tensors) -> dict[str, Any]:
    """Return the width, and the most channels of a block, of PoseNet's tensors."""

    def rows(name: str) -> int:
        return tensors[name].shape[0] if name in tensors else 0

    return {
        "width": rows("Conv2d_0.weight") / 32,
        "max_channels": round(32 * rows("Conv2d_13_pointwise.weight") / max(rows("Conv2d_0.weight"), 1)),
    }


def posenet_parts(sizes: dict[str, Any]) -> tuple[dict, dict, dict]:
    """Return the configs of backbone, neck and head of PoseNet."""
    backbone = {"type": "MobileNetV1", "width": sizes["width"], "max_channels": sizes["max_channels"],
                "with_norm": False}  # fmt: skip
    return backbone, {"type": "PassThroughNeck", "stride": 16}, {"type": "PersonLabHead"}
