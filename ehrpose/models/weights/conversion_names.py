"""Names of the same tensor here and in the supported layouts.

``repeats`` are the numbers of blocks of the backbone's stages: other layouts number all blocks consecutively.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

_HEAD_NAMES = {
    "output4": "final_layers.0",
    "output2": "final_layers.1",
    "deconv.0": "deconv_layers.0.0.0",
    "deconv.1": "deconv_layers.0.0.1",
}


def public_name(name: str, repeats: Sequence[int]) -> str:
    """Return the public name of one of our tensors."""
    part, rest = name.split(".", 1)
    if part == "backbone":
        return _public_backbone_name(rest, repeats)
    if part == "neck":
        rest = re.sub(
            r"^transitions\.(\d+)\.(\d+)", lambda m: f"trans{int(m[1]) + 1}_branch{int(m[2]) + 1}", rest
        )
        rest = re.sub(r"^stages\.(\d+)", lambda m: f"stage{int(m[1]) + 2}", rest)
        return rest.replace(".fuse.", ".fuse_layers.", 1)
    rest = re.sub(r"^blocks\.(\d+)", lambda m: f"deconv_layers.0.{int(m[1]) + 1}.0", rest)
    return re.sub(r"^(output4|output2|deconv\.\d)", lambda m: _HEAD_NAMES[m[1]], rest)


def _public_backbone_name(name: str, repeats: Sequence[int]) -> str:
    # A padding layer precedes each convolution of the stem, the expansion and the depthwise part.
    if name.startswith("stem."):
        return name.replace("stem.conv", "features.0.1").replace("stem.bn", "features.0.2")
    block, part, layer, rest = _split_block(name, repeats)
    expanded = int(block >= repeats[0])  # the first stage has no expansion
    if part == "se":
        return f"features.{block + 1}.conv.{expanded + 1}.se.{ {'reduce': 1, 'expand': 3}[layer] }.{rest}"
    if part == "project":
        return f"features.{block + 1}.conv.{expanded + (2 if layer == 'conv' else 3)}.{rest}"
    index = 0 if part == "expand" else expanded
    return f"features.{block + 1}.conv.{index}.{1 if layer == 'conv' else 2}.{rest}"


def _split_block(name: str, repeats: Sequence[int]) -> tuple[int, str, str, str]:
    """Split ``stages.S.B.part.layer.rest``; the block is numbered over all stages, from 0."""
    _, stage, block, part, layer, rest = name.split(".", 5)
    return sum(repeats[: int(stage)]) + int(block), part, layer, rest


def classifier_name(name: str, repeats: Sequence[int]) -> str:
    """Return the name of one of ImageClassifier's tensors in the public layout."""
    if name.startswith("backbone."):
        return public_name(name, repeats)
    last = f"features.{sum(repeats) + 1}"
    names = {
        "head.conv.conv.": f"{last}.1.",
        "head.conv.bn.": f"{last}.2.",
        "head.classifier.": "classifier.",
    }
    return _replace_start(name, names)


def one_classifier_form(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the variants in circulation to ``classifier.weight`` and ``features.N.1`` and ``.2`` of the last layer."""
    renamed = {re.sub(r"^classifier\.1\.", "classifier.", name): value for name, value in tensors.items()}
    # Without a padding layer the last convolution has index 0.
    plain = [m for m in (re.match(r"features\.(\d+)\.0\.weight$", name) for name in renamed) if m]
    for match in plain:
        last = match[1]
        order = {f"features.{last}.0.": f"features.{last}.1.", f"features.{last}.1.": f"features.{last}.2."}
        renamed = {_replace_start(name, order): value for name, value in renamed.items()}
    return renamed


def _replace_start(name: str, order: Mapping[str, str]) -> str:
    for old, new in order.items():
        if name.startswith(old):
            return new + name[len(old) :]
    return name


_LITE_NORMS = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}
_LITE_NAMES = {
    "backbone.stem.conv": "_conv_stem",
    "backbone.stem.bn": "_bn0",
    "head.conv.conv": "_conv_head",
    "head.conv.bn": "_bn1",
    "head.classifier": "_fc",
}


def lite_name(name: str, repeats: Sequence[int]) -> str:
    """Return the name of one of ImageClassifier's tensors in the layout of EfficientNet-Lite."""
    if not name.startswith("backbone.stages."):
        return _replace_start(name, _LITE_NAMES)
    block, part, layer, rest = _split_block(name.removeprefix("backbone."), repeats)
    return f"_blocks.{block}.{f'_{part}_conv' if layer == 'conv' else _LITE_NORMS[part]}.{rest}"
