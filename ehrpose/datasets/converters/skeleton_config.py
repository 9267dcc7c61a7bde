"""Keypoint configs from the skeletons of labelling tools: read, guessed, written."""

from __future__ import annotations

import pprint
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ehrpose.files import write_text
from ehrpose.keypoint_meta import KeypointMeta

# COCO's tolerances by body part, for keypoints of the same name.
_SIGMAS = {
    **{"nose": 0.026, "eye": 0.025, "ear": 0.035, "shoulder": 0.079, "elbow": 0.072, "wrist": 0.062},
    **{"hip": 0.107, "knee": 0.087, "ankle": 0.089, "head": 0.079, "neck": 0.079},
}
# For any other part: the elbow's, in the middle of COCO's range.
_OTHER_SIGMA = 0.072
_SIDE = re.compile(r"^(left|right|l|r)[ _\-.]?(?=.)|[ _\-.](left|right|l|r)$", re.I)


def load_keypoints(path: str | Path) -> KeypointMeta:
    """Return the skeleton of a config file.

    Args:
        path: Python config with the variable ``keypoints``.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The variable is missing, or is not a skeleton.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"keypoint config not found: {path}")
    content = Config.fromfile(str(path))
    if "keypoints" not in content:
        raise ValueError(
            f"{path} has no variable named keypoints; see configs/_base_/datasets/coco.py for an example"
        )
    return KeypointMeta.build(content.keypoints.to_dict())


def guess_keypoints(name: str, names: Sequence[str], limbs: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """Return a keypoint config made from names and limbs alone.

    Names that differ only in left and right (``left_eye``, ``l_eye``, ``eye.r``) become mirror pairs. Tolerances are
    COCO's for its body parts and 0.072 for others: a guess, which affects AP only.

    Args:
        name: Name of the dataset.
        names: K keypoint names.
        limbs: Pairs of names.
    """
    return {
        "dataset_name": name,
        "names": list(names),
        "swap": mirror_pairs(names),
        "skeleton": [tuple(limb) for limb in limbs],
        "sigmas": [_sigma(keypoint) for keypoint in names],
    }


def mirror_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the (left, right) pairs of names that differ only in the side."""
    sides: dict[str, dict[str, str]] = {"l": {}, "r": {}}
    for name in names:
        match = _SIDE.search(name)
        if match:
            side = (match.group(1) or match.group(2))[0].lower()
            part = name[: match.start()] + "*" + name[match.end() :]
            sides[side].setdefault(part.lower(), name)
    return [(left, sides["r"][part]) for part, left in sides["l"].items() if part in sides["r"]]


def _sigma(name: str) -> float:
    words = re.split(r"[ _\-.]", name.lower())
    return next((_SIGMAS[word] for word in words if word in _SIGMAS), _OTHER_SIGMA)


def write_keypoints(keypoints: Mapping[str, Any], path: str | Path) -> None:
    """Write a keypoint config as a Python file, whole or not at all."""
    KeypointMeta.build(keypoints)
    lines = [
        '"""Skeleton of a dataset; sigmas are COCO\'s for keypoints of the same name, otherwise a guess."""',
        "",
        "keypoints = dict(",
    ]
    for key, value in keypoints.items():
        text = pprint.pformat(value, width=100, compact=True).replace("\n", "\n    ")
        lines.append(f"    {key}={text},")
    write_text(path, "\n".join([*lines, ")", ""]))
