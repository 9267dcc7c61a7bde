"""Layouts of other bottom-up networks' weights: how to tell them apart, their sizes, and their names for our tensors.

Source: names and shapes that the projects' own code gives, at the commits in docs/rivals.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from torch import Tensor, nn

from ehrpose.models.backbones.resnet import STAGE_BLOCKS
from ehrpose.models.weights.field_layouts import (
    OPENPOSE_LIMBS,
    OPENPOSE_OUTPUT,
    OPENPOSE_PARTS,
    POSENET_SEEN,
    openpose_name,
    openpose_parts,
    openpose_sizes,
    posenet_name,
    posenet_parts,
    posenet_sizes,
)
from ehrpose.registry import MODELS

Tensors = Mapping[str, Tensor]
RIVAL_KINDS = (
    "higherhrnet", "hrnet", "litepose", "resnet", "mobilenetv2", "hourglass", "lwopenpose", "posenet", "hrnet_imagenet",
)  # fmt: skip
_OFFICIAL, _MMPOSE0, _MMPOSE1 = "its authors' names", "names of mmpose 0.x", "names of mmpose 1.x"


class RivalLayout(NamedTuple):
    """One layout.

    Attributes:
        kind: One of ``RIVAL_KINDS``.
        seen: The network and whose names, for a message.
        mark: A tensor that tells the layout: all of HRNet's trunk for ``hrnet``, and so on.
        output: The 1x1 convolution whose rows give the number of keypoints: 2K, of PoseNet K.
        renamed: Our name to theirs.
        sizes: Sizes of the network from the tensors, without the number of keypoints.
        parts: Configs of backbone, neck and head for these sizes.
        dropped: Pattern of names that only a classifier needs; then the backbone is all that is converted.
    """

    kind: str
    seen: str
    mark: str
    output: str
    renamed: Callable[[str, dict[str, Any]], str]
    sizes: Callable[[Tensors], dict[str, Any]]
    parts: Callable[[dict[str, Any]], tuple[dict, dict, dict]]
    dropped: str = ""


def find_layout(tensors: Tensors) -> RivalLayout | None:
    """Return the layout of a file whose names have no wrapper's prefix; None if it is another one."""
    return next((row for row in LAYOUTS if row.mark in tensors and row.output in tensors), None)


def network_sizes(layout: RivalLayout, tensors: Tensors) -> dict[str, Any]:
    """Return the network's sizes, with ``num_keypoints`` unless it is a classifier's backbone.

    Raises:
        ValueError: A tensor that tells a size has another number of axes.
    """
    for name in (layout.mark,) if layout.dropped else (layout.mark, layout.output):
        if tensors[name].ndim != 4:
            raise ValueError(
                f"{name} has shape {tuple(tensors[name].shape)}, expected that of a convolution with 4 axes"
            )
    if layout.dropped:
        return layout.sizes(tensors)
    if layout.kind == "lwopenpose":
        return layout.sizes(tensors)
    rows = tensors[layout.output].shape[0]
    per_keypoint = {_HOURGLASS_SEEN: 4, POSENET_SEEN: 1}.get(layout.seen, 2)
    if rows < per_keypoint or rows % per_keypoint:
        raise ValueError(f"{layout.output} has {rows} rows, expected {per_keypoint} of each keypoint")
    return {**layout.sizes(tensors), "num_keypoints": rows // per_keypoint}


def build_network(layout: RivalLayout, sizes: dict[str, Any]) -> nn.Module:
    """Return backbone, neck and head of these sizes, or the backbone of a classifier."""
    backbone_config, neck_config, head_config = layout.parts(sizes)
    backbone = MODELS.build(backbone_config)
    if layout.dropped:
        return nn.ModuleDict({"backbone": backbone})
    taps = {"in_channels": backbone.out_channels, "in_strides": backbone.out_strides}
    neck = MODELS.build({**taps, **neck_config})
    strides = (4,) if head_config["type"] == "SingleLevelAEHead" else (4, 2)
    codec = SimpleNamespace(
        num_keypoints=sizes["num_keypoints"], tag_dim=1, strides=strides, tag_strides=(4,)
    )
    if head_config["type"] == "PartAffinityHead":
        codec = SimpleNamespace(num_parts=OPENPOSE_PARTS, num_limbs=OPENPOSE_LIMBS)
    if head_config["type"] == "PersonLabHead":
        edges = sizes["num_keypoints"] - 1
        codec = SimpleNamespace(
            num_keypoints=sizes["num_keypoints"], tree=SimpleNamespace(num_edges=edges), with_long=False
        )
    head = MODELS.build({"in_channels": neck.out_channels, "codec": codec, **head_config})
    return nn.ModuleDict({"backbone": backbone, "neck": neck, "head": head})


# ---- HRNet and HigherHRNet


def _hrnet_name(name: str, backbone: str, head: str) -> str:
    part, rest = name.split(".", 1)
    if part == "backbone":
        rest = re.sub(r"^finest\.", "transition1.0.", rest)
        rest = re.sub(r"^transitions\.(\d)", lambda m: f"transition{int(m[1]) + 1}.{int(m[1]) + 1}.0", rest)
        rest = re.sub(r"^stages\.(\d)", lambda m: f"stage{int(m[1]) + 2}", rest)
        return backbone + rest.replace(".fuse.", ".fuse_layers.", 1)
    rest = re.sub(r"^blocks\.(\d+)", lambda m: f"deconv_layers.0.{int(m[1]) + 1}.0", rest)
    rest = re.sub(r"^deconv\.", "deconv_layers.0.0.", rest)
    return head + re.sub(r"^output([42])", lambda m: f"final_layers.{0 if m[1] == '4' else 1}", rest)


def _width(tensors: Tensors, backbone: str) -> dict[str, Any]:
    return {"width": tensors[f"{backbone}transition1.0.0.weight"].shape[0]}


def _hrnet_parts(head: dict[str, Any]) -> Callable[[dict[str, Any]], tuple[dict, dict, dict]]:
    return lambda sizes: ({"type": "HRNet", "width": sizes["width"]}, {"type": "PassThroughNeck"}, head)


def _hrnet(names: str, backbone: str, head: str, one_level: bool) -> RivalLayout:
    mark = f"{backbone}transition1.0.0.weight"

    def renamed(name: str, sizes: dict[str, Any]) -> str:
        theirs = _hrnet_name(name, backbone, head)
        return theirs.replace("final_layers.0.", "final_layer.") if one_level else theirs

    return RivalLayout(
        "hrnet" if one_level else "higherhrnet",
        f"{'HRNet with a one-level head' if one_level else 'HigherHRNet'}, {names}",
        mark,
        f"{head}final_layer.weight" if one_level else f"{head}final_layers.0.weight",
        renamed,
        lambda tensors: _width(tensors, backbone),
        _hrnet_parts({"type": "SingleLevelAEHead"} if one_level else {"type": "AEHead", "num_blocks": 4}),
    )


# ---- ResNet and MobileNetV2 with transposed convolutions


def _simple_name(name: str) -> str:
    name = re.sub(r"^neck\.layers\.", "keypoint_head.deconv_layers.", name)
    return re.sub(r"^head\.output4\.", "keypoint_head.final_layer.", name)


def _resnet_depth(tensors: Tensors) -> dict[str, Any]:
    stages = [
        {name.split(".")[2] for name in tensors if name.startswith(f"backbone.layer{i}.")}
        for i in (1, 2, 3, 4)
    ]
    blocks = tuple(map(len, stages))
    depth = next((depth for depth, known in STAGE_BLOCKS.items() if known == blocks), None)
    if depth is None:
        raise ValueError(f"a ResNet of {blocks} blocks is not supported: expected ResNet-50, -101 or -152")
    return {"depth": depth}


def _mobilenet_name(name: str, sizes: dict[str, Any]) -> str:
    name = _simple_name(name)
    if not name.startswith("backbone."):
        return name
    match = re.match(r"backbone\.stages\.(\d)\.(\d+)\.(expand|depthwise|project)\.([01])\.(.*)", name)
    if match:
        stage, block, part, layer, rest = match.groups()
        # The first stage has no expansion.
        index = ("expand", "depthwise", "project").index(part) - (stage == "0")
        return f"backbone.layer{int(stage) + 1}.{block}.conv.{index}.{('conv', 'bn')[int(layer)]}.{rest}"
    part, layer, rest = name.removeprefix("backbone.").split(".", 2)
    return f"backbone.{ {'stem': 'conv1', 'last': 'conv2'}[part] }.{('conv', 'bn')[int(layer)]}.{rest}"


def _deconv_parts(backbone: str, size: str | None) -> Callable[[dict[str, Any]], tuple[dict, dict, dict]]:
    return lambda sizes: (
        {"type": backbone, **({size: sizes[size]} if size else {})},
        {"type": "DeconvNeck"},
        {"type": "SingleLevelAEHead"},
    )


# ---- LitePose


def _litepose_name(name: str, sizes: dict[str, Any]) -> str:
    name = re.sub(r"^backbone\.first\.2\.([01])", lambda m: f"first.{2 + int(m[1])}", name)
    name = re.sub(r"^backbone\.first", "first", name)
    name = re.sub(r"^backbone\.stages", "stage", name)
    for ours, theirs in (("expand", "inv"), ("depthwise", "depth_conv"), ("project", "point_conv")):
        name = name.replace(f".{ours}.", f".{theirs}.")
    name = re.sub(r"^head\.norms\.(\d)", r"deconv_bnrelu.\1.0", name)
    name = re.sub(r"^head\.output_(refined|raw)\.(\d)", r"final_\1.\2.conv", name)
    return re.sub(r"^head\.", "", name)


def _litepose_sizes(tensors: Tensors) -> dict[str, Any]:
    def widths(pattern: str, count: int) -> list[int]:
        """Return the output channels of some convolutions; a width of 0 fits no tensor."""
        found = (tensors.get(pattern.format(i)) for i in range(count))
        return [0 if tensor is None or tensor.ndim != 4 else tensor.shape[1 if "deconv" in pattern else 0]
                for tensor in found]  # fmt: skip

    return {
        "stem_channels": tensors["first.2.weight"].shape[0] if "first.2.weight" in tensors else 0,
        "channels": widths("stage.{}.0.point_conv.0.weight", 4),
        "deconv_channels": widths("deconv_refined.{}.weight", 3),
    }


def _litepose_parts(sizes: dict[str, Any]) -> tuple[dict, dict, dict]:
    backbone = {"type": "LitePose", "stem_channels": sizes["stem_channels"], "channels": sizes["channels"]}
    head = {"type": "FusionDeconvHead", "channels": sizes["deconv_channels"]}
    return backbone, {"type": "PassThroughNeck"}, head


# ---- stacked hourglasses

_HOURGLASS_SEEN = f"stacked hourglasses, {_OFFICIAL}"


def _hourglass_name(name: str, sizes: dict[str, Any]) -> str:
    name = re.sub(r"^head\.output4\.", "outs.3.conv.", name)
    name = re.sub(r"^backbone\.", "", name)
    name = re.sub(r"^stem\.", "pre.", name)
    name = re.sub(r"^stacks\.", "features.", name)
    name = re.sub(r"^predictions\.", "outs.", name)
    name = re.sub(r"^from_features\.(\d)", r"merge_features.\1.conv", name)
    return re.sub(r"^from_predictions\.(\d)", r"merge_preds.\1.conv", name)


def _mmpose_hourglass_name(name: str, sizes: dict[str, Any]) -> str:
    name = re.sub(r"^head\.output4\.", "backbone.out_convs.3.conv.", name)
    name = name.replace("backbone.stacks.", "backbone.hourglass_modules.", 1)
    name = name.replace("backbone.predictions.", "backbone.out_convs.", 1)
    name = name.replace("backbone.from_features.", "backbone.remap_feature_convs.", 1)
    return name.replace("backbone.from_predictions.", "backbone.remap_out_convs.", 1)


def _hourglass_parts(sizes: dict[str, Any]) -> tuple[dict, dict, dict]:
    rows = sizes["num_keypoints"] * (2 if sizes["with_norm"] else 4)
    backbone = {"type": "StackedHourglass", "prediction_channels": rows, "with_norm": sizes["with_norm"]}
    return backbone, {"type": "PassThroughNeck"}, {"type": "SingleLevelAEHead"}


LAYOUTS = (
    _hrnet(_OFFICIAL, "", "", one_level=False),
    _hrnet(_MMPOSE0, "backbone.", "keypoint_head.", one_level=False),
    _hrnet(_MMPOSE1, "backbone.", "head.", one_level=False),
    _hrnet(_MMPOSE0, "backbone.", "keypoint_head.", one_level=True),
    _hrnet(_MMPOSE1, "backbone.", "head.", one_level=True),
    RivalLayout(
        "litepose", f"LitePose, {_OFFICIAL}", "first.0.0.weight", "final_refined.0.conv.3.weight",
        _litepose_name, _litepose_sizes, _litepose_parts,
    ),
    RivalLayout(
        "resnet", f"ResNet, {_MMPOSE0}", "backbone.layer4.0.conv1.weight", "keypoint_head.final_layer.weight",
        lambda name, sizes: _simple_name(name), _resnet_depth, _deconv_parts("ResNet", "depth"),
    ),
    RivalLayout(
        "mobilenetv2", f"MobileNetV2, {_MMPOSE0}", "backbone.conv1.conv.weight", "keypoint_head.final_layer.weight",
        _mobilenet_name, lambda tensors: {}, _deconv_parts("MobileNetV2", None),
    ),
    RivalLayout(
        "hourglass", _HOURGLASS_SEEN, "pre.0.conv.weight", "outs.3.conv.weight",
        _hourglass_name, lambda tensors: {"with_norm": False}, _hourglass_parts,
    ),
    RivalLayout(
        "hourglass", f"stacked hourglasses, {_MMPOSE0}", "backbone.hourglass_modules.0.0.up1.conv.weight",
        "backbone.out_convs.3.conv.weight", _mmpose_hourglass_name, lambda tensors: {"with_norm": True},
        _hourglass_parts,
    ),
    RivalLayout(
        "lwopenpose", f"Lightweight OpenPose, {_OFFICIAL}", "cpm.align.0.weight", OPENPOSE_OUTPUT,
        openpose_name, openpose_sizes, openpose_parts,
    ),
    RivalLayout(
        "posenet", POSENET_SEEN, "Conv2d_0.weight", "heatmap_2.weight",
        posenet_name, posenet_sizes, posenet_parts,
    ),
    RivalLayout(
        "hrnet_imagenet", f"HRNet for classification, {_OFFICIAL}", "transition1.0.0.weight", "classifier.weight",
        lambda name, sizes: _hrnet_name(name, "", ""), lambda tensors: _width(tensors, ""), _hrnet_parts({}),
        # Its last module also fuses into the coarser branches.
        r"(incre_modules|downsamp_modules|final_layer|classifier|stage4\.2\.fuse_layers\.[123])\.",
    ),
)  # fmt: skip
