"""Which of the project's configs fits converted weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ehrpose.model_zoo import zoo_root
from ehrpose.models.weights.conversion import Converted

_DATA = {17: "coco", 14: "crowdpose"}
_CLASSES = {1000: "imagenet", 100: "cifar100"}
# Multipliers of width and depth.
_LITE = {(1.0, 1.0): "lite0", (1.0, 1.1): "lite1", (1.1, 1.2): "lite2"}
# Widths of the stem, of the four stages and of the transposed convolutions.
_LITEPOSE = {
    (16, 16, 32, 48, 80, 16, 24, 24): "litepose-xs",
    (16, 16, 32, 48, 120, 32, 24, 32): "litepose-s",
    (16, 24, 48, 72, 120, 64, 40, 32): "litepose-m",
    (24, 24, 64, 96, 160, 64, 40, 32): "litepose-l",
}


def fitting_config(converted: Converted, filename: str) -> tuple[str | None, str]:
    """Return the config that fits, relative to the project's folder, and how it was chosen or why there is none.

    Weights for several input sizes, and for UDP targets or not, have the same names and shapes; the file's name decides
    between them.

    Args:
        converted: Converted weights.
        filename: Name of the file that they are from.
    """
    if converted.kind in ("classification", "lite") and "head.classifier.weight" in converted.state_dict:
        return _classifier_config(converted.sizes)
    stem = _stem(converted.kind, converted.sizes)
    if stem is None:
        sizes = ", ".join(f"{key} {value}" for key, value in converted.sizes.items())
        return None, f"none of the configs has {sizes}: set these in one of {converted.kind}"
    num_keypoints = converted.sizes.get("num_keypoints", 17)
    if num_keypoints not in _DATA:
        return None, f"none of the configs has {num_keypoints} keypoints: write one for your skeleton"
    if stem == "small":
        return "configs/ehrnet/small_coco-256.py", ""
    form = re.compile(rf"{re.escape(stem)}(-udp)?_{_DATA[num_keypoints]}-(\d+)")
    folder = zoo_root() / "configs"
    found: dict[tuple[bool, int], Path] = {}
    for path in sorted(folder.glob(f"*/{stem}*.py")):
        match = form.fullmatch(path.stem)
        if match:
            found[match[1] is not None, int(match[2])] = path
    if not found:
        return None, f"none of the configs is for {stem} with {num_keypoints} keypoints: write one"
    text = Path(filename).stem.lower()
    sides = sorted({side for _, side in found})
    named = [side for side in sides if re.search(rf"(?<!\d){side}(?!\d)", text)]
    udp = any(is_udp for is_udp, _ in found) and "udp" in text
    wanted = (udp, named[0] if named else sides[0])
    # The UDP forms exist at one size only.
    chosen = found.get(wanted) or found[min(key for key in found if key[0] == udp)]
    note = ""
    if len(found) > 1 and "num_keypoints" in converted.sizes:
        others = ", ".join(path.stem for path in found.values() if path != chosen)
        note = f"its tensors would fit {others} too; the file's name, {Path(filename).name}, decided"
    if converted.kind == "higherhrnet" and "mmpose" in converted.seen and not udp:
        hint = "mmpose resizes maps in one step: set codec.resize=direct, where the config does not"
        note = f"{note}; {hint}" if note else hint
    return chosen.relative_to(folder.parent).as_posix(), note


def _classifier_config(sizes: Mapping[str, Any]) -> tuple[str | None, str]:
    """Return the config of a classifier with these sizes, or None and what to do."""
    data = _CLASSES.get(sizes["num_classes"])
    name = f"b{sizes['phi']:g}" if "phi" in sizes else _LITE.get((sizes["width"], sizes["depth"]))
    config = f"configs/classification/{name}_{data}.py"
    if data and name and (zoo_root() / config).is_file():
        return config, ""
    numbers = ", ".join(f"{key} {value}" for key, value in sizes.items())
    return None, f"none of the configs has {numbers}: set these in b0_imagenet or lite0_imagenet"


def _stem(kind: str, sizes: Mapping[str, Any]) -> str | None:
    """Return the beginning of the configs' names, None if no config has these sizes."""
    if kind in ("higherhrnet", "hrnet", "hrnet_imagenet"):
        network = "hrnet" if kind == "hrnet" else "higherhrnet"
        return f"{network}-w{sizes['width']}" if sizes["width"] in (32, 48) else None
    if kind == "litepose":
        return _LITEPOSE.get((sizes["stem_channels"], *sizes["channels"], *sizes["deconv_channels"]))
    if kind == "resnet":
        return f"res{sizes['depth']}"
    if kind == "hourglass":
        return "hourglass-mmpose" if sizes["with_norm"] else "hourglass"
    if kind == "lwopenpose":
        return {1: "lwopenpose", 3: "lwopenpose-3stages"}.get(sizes["num_refinements"])
    if kind == "posenet":
        return kind if (sizes["width"], sizes["max_channels"]) == (0.75, 512) else None
    if kind == "lite":
        return "small" if (sizes["width"], sizes["depth"]) == (1.0, 1.0) else None
    if kind == "mobilenetv2":
        return kind
    phi = sizes["phi"]
    return f"h{phi:g}" if phi in (0, -1, -2, -3, -4) else None
