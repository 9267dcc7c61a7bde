"""COCO-WholeBody's annotations as 133 keypoints: body, feet, face and hands.

Order and parts: https://github.com/jin-s13/COCO-WholeBody; the face has the 68 landmarks of 300-W.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Dict, List, Mapping, Sequence, Tuple

from ehrpose.datasets.coco_fields import name_of, objects

# Field of an annotation to its number of keypoints.
PARTS = {"foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
_BODY = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
_FOOT = ("big_toe", "small_toe", "heel")
_FINGERS = (
    "root",
    *(f"{finger}{i}" for finger in ("thumb", "forefinger", "middle", "ring", "pinky") for i in range(1, 5)),
)
NAMES: Tuple[str, ...] = (
    *_BODY,
    *(f"{side}_{part}" for side in ("left", "right") for part in _FOOT),
    *(f"face_{i}" for i in range(68)),
    *(f"{side}_hand_{part}" for side in ("left", "right") for part in _FINGERS),
)
# Landmarks that change places in a mirrored face.
_FACE_PAIRS = [
    *((i, 16 - i) for i in range(8)), *((17 + i, 26 - i) for i in range(5)), (31, 35), (32, 34),
    (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),
    (48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67),
]  # fmt: skip
SWAP: List[Tuple[str, str]] = [
    *((name, name.replace("left", "right", 1)) for name in NAMES if name.startswith("left")),
    *((f"face_{i}", f"face_{j}") for i, j in _FACE_PAIRS),
]


def limbs(body: Sequence[Tuple[str, str]]) -> List[Tuple[str, str]]:
    """Return the body's limbs and those of feet and hands, as pairs of names."""
    found = list(body)
    for side in ("left", "right"):
        found += [(f"{side}_ankle", f"{side}_{part}") for part in _FOOT]
        found.append((f"{side}_wrist", f"{side}_hand_root"))
        for finger in ("thumb", "forefinger", "middle", "ring", "pinky"):
            chain = ["root", *(f"{finger}{i}" for i in range(1, 5))]
            found += [(f"{side}_hand_{a}", f"{side}_hand_{b}") for a, b in zip(chain, chain[1:])]
    return found


def is_wholebody(content: Mapping[str, Any]) -> bool:
    """Return whether annotations of a COCO file have COCO-WholeBody's fields."""
    return any(set(PARTS) <= set(ann) for ann in objects(content, "annotations"))


def joined(content: Mapping[str, Any]) -> Tuple[Dict[str, Any], List[str]]:
    """Return the content with 133 keypoints for each person, and notes on what is left out.

    Visibilities of face and hands are 0 or the score that the makers' model gave them, above 0: 2.

    Raises:
        ValueError: A part has another number of values.
    """
    lost: Counter[str] = Counter()
    annotations = []
    for ann in objects(content, "annotations"):
        new = {key: value for key, value in ann.items() if key not in PARTS}
        if "keypoints" in ann and isinstance(ann["keypoints"], list):
            new["keypoints"] = [*ann["keypoints"], *(v for part in PARTS for v in _part(ann, part))]
            new.pop("num_keypoints", None)
        lost.update(key for key in ("face_box", "lefthand_box", "righthand_box") if any(ann.get(key) or ()))
        annotations.append(new)
    categories = [
        {**category, "keypoints": list(NAMES)} if category.get("keypoints") else category
        for category in objects(content, "categories")
    ]
    note = ", ".join(f"{key} of {count}" for key, count in lost.items())
    notes = [f"COCO-WholeBody's boxes of parts are left out: {note}"] if note else []
    notes.append(
        "COCO-WholeBody's face and hands get the tolerance of an elbow (sigmas): set your own for AP"
    )
    return {**content, "annotations": annotations, "categories": categories}, notes


def _part(ann: Mapping[str, Any], part: str) -> List[Any]:
    values = ann.get(part) or [0] * 3 * PARTS[part]
    if ann.get(part.replace("_kpts", "_valid")) is False:
        values = [0] * 3 * PARTS[part]
    if not isinstance(values, list) or len(values) != 3 * PARTS[part]:
        got = len(values) if isinstance(values, list) else values
        raise ValueError(f"{name_of(ann)}: expected {3 * PARTS[part]} numbers as {part!r}, got {got}")
    seen = [v if v in (0, 1, 2) else 2 if isinstance(v, float) and v > 0 else v for v in values[2::3]]
    return [v for x, y, s in zip(values[0::3], values[1::3], seen) for v in (x, y, s)]
